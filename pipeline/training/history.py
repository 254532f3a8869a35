"""The files that hold one training, written and read back.

weights.safetensors     the final state of every seed's network, every tensor with the seeds first
histograms.safetensors  counts [seeds, epochs + 1, bins] of every hidden tensor
train_loss.csv          iteration, mean, one column per seed
validation_loss.csv     epoch, mean, one column per seed; epoch 0 is before training
validation_accuracy.csv likewise
moments.csv             epoch, seed, layer, tensor, mean, std, saturated
metrics.json            the final values, over seeds
settings.json           the parameters of the training (pipeline/training/settings.py)
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.files import to_json, write_atomic
from pipeline.training.csv_files import curve_to_csv, load_curve, load_moments, moments_to_csv
from pipeline.training.settings import SETTINGS_FILE

if TYPE_CHECKING:  # importing PyTorch takes seconds, which commands that only read can save
    from pipeline.training.loop import Trained

HISTORY_FILES = (
    "weights.safetensors",
    "histograms.safetensors",
    "train_loss.csv",
    "validation_loss.csv",
    "validation_accuracy.csv",
    "moments.csv",
    "metrics.json",
    SETTINGS_FILE,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """A training read back.

    Attributes:
        seeds: One for each network.
        train_loss: [seeds, iterations], in nats.
        validation_loss: [seeds, epochs + 1], in nats; epoch 0 is before training.
        validation_accuracy: [seeds, epochs + 1], fractions.
        histograms: Counts [seeds, epochs + 1, bins] by tensor, such as `layer1.pre_activation`.
        moments: [seeds, epochs + 1] by tensor and moment, such as `layer1.pre_activation.std`.
    """

    seeds: tuple[int, ...]
    train_loss: Floats
    validation_loss: Floats
    validation_accuracy: Floats
    histograms: dict[str, NDArray[np.int64]]
    moments: dict[str, Floats]

    @property
    def epochs(self) -> int:
        """The number of epochs trained."""
        return int(self.validation_loss.shape[1]) - 1

    def diverged(self) -> int:
        """Return the number of networks whose training loss was ever infinite or not a number."""
        return int(np.count_nonzero(diverged_at(self.train_loss)))


def save_history(folder: Path, seeds: Sequence[int], trained: "Trained") -> None:
    """Write the files of one training, except its settings, into `folder`."""
    measured = {name: tensor.numpy() for name, tensor in trained.measured.items()}
    loss = trained.loss.double().numpy()
    curves = {
        "train_loss.csv": ("iteration", 1, loss),
        "validation_loss.csv": ("epoch", 0, measured["loss"].astype(float)),
        "validation_accuracy.csv": ("epoch", 0, measured["accuracy"]),
    }
    for name, (step, first, values) in curves.items():
        write_atomic(folder / name, curve_to_csv(step, first, seeds, values))
    counts = {name: values for name, values in measured.items() if name.endswith(".counts")}
    write_atomic(folder / "histograms.safetensors", safetensors.numpy.save(counts))
    weights = {name: tensor.contiguous().numpy() for name, tensor in trained.weights.items()}
    write_atomic(folder / "weights.safetensors", safetensors.numpy.save(weights))
    write_atomic(folder / "moments.csv", moments_to_csv(seeds, measured))
    metrics = {
        "train": {"loss": _spread(loss[:, -1])},
        "validation": {name: _spread(measured[name][:, -1].astype(float)) for name in ("accuracy", "loss")},
        "seeds": len(seeds),
        "diverged": int(np.count_nonzero(diverged_at(loss))),
    }
    write_atomic(folder / "metrics.json", to_json(metrics))


def load_history(folder: Path) -> History:
    """Read the curves, histograms and moments of a training.

    Raises:
        UserError: A file is missing, damaged or inconsistent with the others.
    """
    try:
        seeds, train_loss = load_curve(folder / "train_loss.csv", first=1)
        counts = safetensors.numpy.load_file(folder / "histograms.safetensors")
        history = History(
            seeds=seeds,
            train_loss=train_loss,
            validation_loss=load_curve(folder / "validation_loss.csv", 0, seeds)[1],
            validation_accuracy=load_curve(folder / "validation_accuracy.csv", 0, seeds)[1],
            histograms={name.removesuffix(".counts"): array for name, array in counts.items()},
            moments=load_moments(folder / "moments.csv", seeds),
        )
        _check_shapes(history)
        return history
    except (OSError, ValueError, KeyError, csv.Error, safetensors.SafetensorError) as error:
        raise UserError(f"{folder}: not a complete training ({error}); run `dvc repro`") from None


def load_weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Read the final state of the networks, every array with the seeds first.

    Raises:
        UserError: The file is missing or damaged.
    """
    path = folder / "weights.safetensors"
    try:
        return safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run `dvc repro`") from None


def _check_shapes(history: History) -> None:
    steps = (len(history.seeds), history.epochs + 1)
    arrays = [history.validation_accuracy, *history.histograms.values(), *history.moments.values()]
    if any(array.shape[:2] != steps for array in arrays):
        raise ValueError("files of different lengths")
    if history.epochs < 1 or history.train_loss.shape[1] % history.epochs:
        raise ValueError("rows are missing")


def diverged_at(train_loss: Floats) -> Floats:
    """Return the first iteration, from 1, whose loss [seeds, iterations] is not finite; 0 if there is none."""
    diverged = ~np.isfinite(train_loss)
    return np.where(diverged.any(axis=1), diverged.argmax(axis=1) + 1, 0).astype(float)


def _spread(values: Floats) -> dict[str, float]:
    """Return the mean, sample standard deviation (0 for one value), minimum and maximum of values [seeds]."""
    with np.errstate(invalid="ignore"):  # of trainings that diverged
        deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": float(values.mean()),
        "std": deviation,
        "min": float(values.min()),
        "max": float(values.max()),
    }
