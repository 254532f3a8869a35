"""One population of a sweep: a plain description in, plain results out, and the file that keeps them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from pipeline.data.dataset import Examples, Split
from pipeline.files import write_atomic
from pipeline.network.device import memory
from pipeline.network.metrics import predict, score
from pipeline.network.perceptron import Perceptron, restore
from pipeline.sweeps.probe import Probe
from pipeline.training.history import Floats
from pipeline.training.loop import Checkpoint, fit
from pipeline.training.population import Population

WATCHED = "watched."


@dataclass(frozen=True)
class Outcome:
    """What a population's training gave, seeds first: [seeds], or [seeds, epochs] and [seeds, epochs + 1] for curves.

    train_loss: mean over every epoch. validation_*: from before training on. test_*: after training.
    diverged_at: the first iteration, from 1, whose loss is not finite; 0 if there is none.
    watched: what the study's probe measured: [seeds, measurements, ...] each.
    """

    train_loss: Floats
    validation_loss: Floats
    validation_accuracy: Floats
    test_loss: Floats
    test_accuracy: Floats
    diverged_at: Floats
    watched: dict[str, Floats] = field(default_factory=dict)


CURVES = [one.name for one in fields(Outcome) if one.name != "watched"]


def digest(population: Population, holdout: int, images: str, probe: Probe | None = None) -> str:
    """Return what tells outcomes apart: the training, how it is tested, and what a probe measures besides.

    `images` is the digest of the images.
    """
    described = [
        population.digest(holdout, images),
        hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        [probe.source, probe.every] if probe else None,
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


@torch.no_grad()
def run(
    population: Population,
    split: Split,
    probe: Probe | None = None,
    checkpoint: Checkpoint | None = None,
    advance: Callable[[int], object] | None = None,
) -> Outcome:
    """Train a population and measure it; `checkpoint` and `advance` are those of `fit`."""
    batch_size = population.train.validation_batch_size

    def measure(network: Perceptron) -> dict[str, Tensor]:
        return score(predict(network, split.validation.images, batch_size), split.validation.labels)

    watch = probe.watch(population, split) if probe else None
    with torch.enable_grad():
        trained = fit(population, split.train, measure, advance, watch=watch, checkpoint=checkpoint)
    loss = trained.loss.double().numpy()
    tested = _test(population, trained.weights, split.test)
    bad = ~np.isfinite(loss)
    return Outcome(
        train_loss=loss.reshape(len(loss), population.train.epochs, -1).mean(axis=2),
        validation_loss=trained.measured["loss"].double().numpy(),
        validation_accuracy=trained.measured["accuracy"].numpy(),
        test_loss=tested["loss"].double().numpy(),
        test_accuracy=tested["accuracy"].numpy(),
        diverged_at=np.where(bad.any(axis=1), bad.argmax(axis=1) + 1, 0).astype(float),
        watched={name: tensor.double().numpy() for name, tensor in trained.watched.items()},
    )


def _test(population: Population, weights: Mapping[str, Tensor], test: Examples) -> dict[str, Tensor]:
    """Score the trained members on the test images, as many of them at once as were trained at once."""
    device = test.images.device
    parts = [len(part.seeds) for part in population.parts(memory(device))]
    split = {name: torch.split(tensor, parts) for name, tensor in weights.items()}
    scores = []
    for at in range(len(parts)):
        part = {name: tensors[at].numpy() for name, tensors in split.items()}
        network = restore(population.model, population.variant == "batchnorm", part).to(device)
        scores.append(score(predict(network, test.images, population.train.validation_batch_size), test.labels))
    return {name: torch.cat([one[name] for one in scores]).cpu() for name in scores[0]}


def write(path: Path, outcome: Outcome) -> None:
    """Keep an outcome."""
    arrays = {name: getattr(outcome, name) for name in CURVES}
    arrays |= {f"{WATCHED}{name}": array for name, array in outcome.watched.items()}
    write_atomic(path, safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def read(path: Path) -> Outcome | None:
    """Return a kept outcome, or None if there is none or its file is damaged."""
    try:
        arrays = safetensors.numpy.load_file(path)
        watched = {name.removeprefix(WATCHED): arrays.pop(name) for name in list(arrays) if name.startswith(WATCHED)}
        return Outcome(**arrays, watched=watched)
    except (OSError, TypeError, safetensors.SafetensorError):
        return None
