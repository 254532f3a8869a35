"""One population of a sweep: a plain description in, plain results out, and the file that keeps them."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from pipeline import files
from pipeline.data import Split
from pipeline.fit import Population, fit, predict, score
from pipeline.model import Perceptron, restore
from pipeline.outputs import Floats


@dataclass(frozen=True)
class Outcome:
    """What a population's training gave, seeds first: [seeds], or [seeds, epochs] and [seeds, epochs + 1] for curves.

    train_loss: mean over every epoch. validation_*: from before training on. test_*: after training.
    diverged_at: the first iteration, from 1, whose loss is not finite; 0 if there is none.
    """

    train_loss: Floats
    validation_loss: Floats
    validation_accuracy: Floats
    test_loss: Floats
    test_accuracy: Floats
    diverged_at: Floats


def digest(population: Population, holdout: int, images: str) -> str:
    """Return what tells populations apart: all that their results depend on; `images` is the data's digest."""
    described = [
        population.variant,
        population.model.model_dump(mode="json"),
        population.train.model_dump(mode="json"),
        population.seeds,
        holdout,
        images,
    ]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


@torch.no_grad()
def run(population: Population, split: Split) -> Outcome:
    """Train a population and measure it."""
    batch_size = population.train.validation_batch_size

    def measure(network: Perceptron) -> dict[str, Tensor]:
        return score(predict(network, split.validation.images, batch_size), split.validation.labels)

    with torch.enable_grad():
        trained = fit(population, split.train, measure)
    loss = trained.loss.double().numpy()
    weights = {name: tensor.numpy() for name, tensor in trained.weights.items()}
    network = restore(population.model, population.variant == "batchnorm", weights).to(split.test.images.device)
    tested = score(predict(network, split.test.images, batch_size), split.test.labels)
    bad = ~np.isfinite(loss)
    return Outcome(
        train_loss=loss.reshape(len(loss), population.train.epochs, -1).mean(axis=2),
        validation_loss=trained.measured["loss"].double().numpy(),
        validation_accuracy=trained.measured["accuracy"].numpy(),
        test_loss=tested["loss"].double().cpu().numpy(),
        test_accuracy=tested["accuracy"].cpu().numpy(),
        diverged_at=np.where(bad.any(axis=1), bad.argmax(axis=1) + 1, 0).astype(float),
    )


def write(path: Path, outcome: Outcome) -> None:
    """Keep an outcome."""
    arrays = {field.name: np.ascontiguousarray(getattr(outcome, field.name)) for field in fields(Outcome)}
    files.write(path, safetensors.numpy.save(arrays))


def read(path: Path) -> Outcome | None:
    """Return a kept outcome, or None if there is none or its file is damaged."""
    try:
        return Outcome(**safetensors.numpy.load_file(path))
    except (OSError, TypeError, safetensors.SafetensorError):
        return None
