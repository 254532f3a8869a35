"""The files that one training leaves, written and read back.

weights.safetensors     the final state of every seed's network, every tensor with the seeds first
histograms.safetensors  counts [seeds, epochs + 1, bins] of every hidden tensor
train_loss.csv          iteration, mean, one column per seed
validation_loss.csv     epoch, mean, one column per seed; epoch 0 is before training
validation_accuracy.csv likewise
moments.csv             epoch, seed, layer, tensor, mean, std, saturated
metrics.json            the final values, over seeds
settings.json           the parameters that it was trained with
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.files import to_csv, to_json, write_atomic
from pipeline.params import Params

if TYPE_CHECKING:  # importing PyTorch takes seconds, which those who only read can save
    from pipeline.training.loop import Trained

FILES = (
    "weights.safetensors",
    "histograms.safetensors",
    "train_loss.csv",
    "validation_loss.csv",
    "validation_accuracy.csv",
    "moments.csv",
    "metrics.json",
    "settings.json",
)
MOMENTS = ("mean", "std", "saturated")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """A training read back. Curves are [seeds, steps]; the validation's start at epoch 0, before training.

    histograms: counts [seeds, epochs + 1, bins] by tensor, such as `layer1.pre_activation`.
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
        """How many epochs the training took."""
        return int(self.validation_loss.shape[1]) - 1

    def diverged(self) -> int:
        """Return how many trainings met a loss that is not finite."""
        return _diverged(self.train_loss)


def write(folder: Path, seeds: Sequence[int], trained: "Trained") -> None:
    """Write the files of one training into `folder`."""
    measured = {name: tensor.numpy() for name, tensor in trained.measured.items()}
    loss = trained.loss.double().numpy()
    curves = {
        "train_loss.csv": ("iteration", 1, loss),
        "validation_loss.csv": ("epoch", 0, measured["loss"].astype(float)),
        "validation_accuracy.csv": ("epoch", 0, measured["accuracy"]),
    }
    for name, (step, first, values) in curves.items():
        write_atomic(folder / name, _curve(step, first, seeds, values))
    counts = {name: values for name, values in measured.items() if name.endswith(".counts")}
    write_atomic(folder / "histograms.safetensors", safetensors.numpy.save(counts))
    weights = {name: tensor.contiguous().numpy() for name, tensor in trained.weights.items()}
    write_atomic(folder / "weights.safetensors", safetensors.numpy.save(weights))
    write_atomic(folder / "moments.csv", _moments(seeds, measured))
    final = {
        "train": {"loss": _spread(loss[:, -1])},
        "validation": {name: _spread(measured[name][:, -1].astype(float)) for name in ("accuracy", "loss")},
        "seeds": len(seeds),
        "diverged": _diverged(loss),
    }
    write_atomic(folder / "metrics.json", to_json(final))


def read(folder: Path) -> History:
    """Read the history of a training back.

    Raises:
        UserError: a file is missing or is not what `write` leaves.
    """
    try:
        seeds, train_loss = _read_curve(folder / "train_loss.csv", first=1)
        counts = safetensors.numpy.load_file(folder / "histograms.safetensors")
        history = History(
            seeds=seeds,
            train_loss=train_loss,
            validation_loss=_read_curve(folder / "validation_loss.csv", first=0, seeds=seeds)[1],
            validation_accuracy=_read_curve(folder / "validation_accuracy.csv", first=0, seeds=seeds)[1],
            histograms={name.removesuffix(".counts"): array for name, array in counts.items()},
            moments=_read_moments(folder / "moments.csv", seeds),
        )
        _check_shapes(history)
        return history
    except (OSError, ValueError, KeyError, csv.Error, safetensors.SafetensorError) as error:
        raise UserError(f"{folder}: not a complete training ({error}); run `dvc repro`") from None


def _check_shapes(history: History) -> None:
    steps = (len(history.seeds), history.epochs + 1)
    parts = [history.validation_accuracy, *history.histograms.values(), *history.moments.values()]
    if any(part.shape[:2] != steps for part in parts):
        raise ValueError("files of different lengths")
    if history.epochs < 1 or history.train_loss.shape[1] % history.epochs:
        raise ValueError("rows are missing")


def write_settings(folder: Path, params: Params) -> None:
    """Write the parameters of a training."""
    write_atomic(folder / "settings.json", to_json(_settings(params)))


def check_settings(folder: Path, params: Params) -> None:
    """Check that a training was made with these parameters.

    Raises:
        UserError: it was not; names the parameters that differ.
    """
    path, wanted = folder / "settings.json", _settings(params)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        different = [name for name, value in wanted.items() if value != found[name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run `dvc repro`") from None
    if different:
        raise UserError(f"{folder}: trained with another {', '.join(different)} than asked for; run `dvc repro`")


def _settings(params: Params) -> dict[str, Any]:
    """What a training depends on, by dotted name."""
    left_out = ("data.directory", "evaluate.")
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in params.flat().items()}
    return {name: value for name, value in plain.items() if not name.startswith(left_out)}


def read_weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Read the state of the networks, every array with the seeds first.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / "weights.safetensors"
    try:
        return safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run `dvc repro`") from None


def _diverged(loss: Floats) -> int:
    return int((~np.isfinite(loss)).any(axis=1).sum())


def _spread(values: Floats) -> dict[str, float]:
    """Mean, sample standard deviation (0 for one value), least and greatest of one value per seed."""
    with np.errstate(invalid="ignore"):  # of trainings that diverged
        deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": float(values.mean()),
        "std": deviation,
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _number(value: float) -> str:
    return format(value, ".9g")


def _curve(step: str, first: int, seeds: Sequence[int], values: Floats) -> str:
    rows = ([first + at, *map(_number, (column.mean(), *column))] for at, column in enumerate(values.T))
    return to_csv([step, "mean", *(f"seed_{seed}" for seed in seeds)], rows)


def _read_curve(path: Path, first: int, seeds: tuple[int, ...] | None = None) -> tuple[tuple[int, ...], Floats]:
    """Read seeds and values [seeds, steps]; the steps count from `first`, and the seeds are those given, if any."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    found = tuple(int(name.removeprefix("seed_")) for name in header[2:])
    if not rows or [row[0] for row in rows] != [str(first + at) for at in range(len(rows))]:
        raise ValueError(f"{path.name}: rows are missing")
    if seeds not in (None, found):
        raise ValueError(f"{path.name}: other seeds")
    return found, np.array([row[2:] for row in rows], dtype=float).T


def _moments(seeds: Sequence[int], measured: dict[str, NDArray[Any]]) -> str:
    tensors = [name.removesuffix(".counts") for name in measured if name.endswith(".counts")]
    epochs = measured["loss"].shape[1]
    rows = (
        [
            epoch,
            seed,
            *tensor.split("."),
            *(_moment(measured, f"{tensor}.{what}", at, epoch) for what in MOMENTS),
        ]
        for epoch in range(epochs)
        for at, seed in enumerate(seeds)
        for tensor in tensors
    )
    return to_csv(["epoch", "seed", "layer", "tensor", *MOMENTS], rows)


def _moment(measured: dict[str, NDArray[Any]], name: str, member: int, epoch: int) -> str:
    return _number(measured[name][member, epoch]) if name in measured else ""


def _read_moments(path: Path, seeds: tuple[int, ...]) -> dict[str, Floats]:
    columns: dict[str, list[float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for what in MOMENTS:
                if row[what]:
                    columns.setdefault(f"{row['layer']}.{row['tensor']}.{what}", []).append(float(row[what]))
    if not columns:
        raise ValueError(f"{path.name} is empty")
    return {name: np.array(values).reshape(-1, len(seeds)).T for name, values in columns.items()}
