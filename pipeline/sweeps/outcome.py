"""The outcome of one population of a sweep: trained, tested, and stored in a file."""

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
from pipeline.network.device import device_memory
from pipeline.network.metrics import predict, score
from pipeline.network.network import Network
from pipeline.network.perceptron import restore
from pipeline.sweeps.probe import Probe
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.history import Floats
from pipeline.training.loop import fit
from pipeline.training.population import Population

PROBED = "probed."  # prefix of a probe's measurements in the file of an outcome


@dataclass(frozen=True)
class Outcome:
    """The results of one population. Losses are in nats, accuracies are fractions.

    Attributes:
        train_loss: The mean over every epoch [seeds, epochs].
        validation_loss: [seeds, epochs + 1]; epoch 0 is before training.
        validation_accuracy: [seeds, epochs + 1], likewise.
        test_loss: [seeds], after training.
        test_accuracy: [seeds], after training.
        diverged_at: The first iteration, from 1, whose loss is infinite or not a number [seeds]; 0 if there is none.
        probed: The measurements of the study's probe by name, [seeds, measurements, ...] each.
    """

    train_loss: Floats
    validation_loss: Floats
    validation_accuracy: Floats
    test_loss: Floats
    test_accuracy: Floats
    diverged_at: Floats
    probed: dict[str, Floats] = field(default_factory=dict)


OUTCOME_ARRAYS = [attribute.name for attribute in fields(Outcome) if attribute.name != "probed"]


def outcome_digest(population: Population, holdout: int, images: str, probe: Probe | None = None) -> str:
    """Return a SHA-256 of everything that determines an outcome.

    Args:
        population: The networks.
        holdout: How many training images are held out.
        images: The digest of the image files.
        probe: The study's probe, if any.

    Returns:
        The hexadecimal digest of the training, of this file, which tests it, and of the probe.
    """
    determinants = [
        population.digest(holdout, images),
        hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        [probe.source, probe.every] if probe else None,
    ]
    return hashlib.sha256(json.dumps(determinants).encode()).hexdigest()


def train_population(
    population: Population,
    split: Split,
    probe: Probe | None = None,
    checkpoint: Checkpoint | None = None,
    advance: Callable[[int], object] | None = None,
) -> Outcome:
    """Train a population, and test it.

    Args:
        population: The networks to train.
        split: The images, whose device computes everything.
        probe: The study's probe, if any.
        checkpoint: Where to save the state while training, and to continue from, as in `fit`.
        advance: Called with the number of epochs completed, as in `fit`.
    """
    batch_size = population.train.validation_batch_size

    def measure(network: Network) -> dict[str, Tensor]:
        return score(predict(network, split.validation.images, batch_size), split.validation.labels)

    probing = probe.probing(population, split) if probe else None
    with torch.enable_grad():
        trained = fit(population, split.train, measure, probing=probing, checkpoint=checkpoint, advance=advance)
    loss = trained.loss.double().numpy()
    tested = _test(population, trained.weights, split.test)
    diverged = ~np.isfinite(loss)
    return Outcome(
        train_loss=loss.reshape(len(loss), population.train.epochs, -1).mean(axis=2),
        validation_loss=trained.measured["loss"].double().numpy(),
        validation_accuracy=trained.measured["accuracy"].numpy(),
        test_loss=tested["loss"].double().numpy(),
        test_accuracy=tested["accuracy"].numpy(),
        diverged_at=np.where(diverged.any(axis=1), diverged.argmax(axis=1) + 1, 0).astype(float),
        probed={name: tensor.double().numpy() for name, tensor in trained.probed.items()},
    )


@torch.no_grad()
def _test(population: Population, weights: Mapping[str, Tensor], test: Examples) -> dict[str, Tensor]:
    """Score the trained members on the test images, in the same parts in which they were trained."""
    device = test.images.device
    sizes = [len(part.seeds) for part in population.parts(device_memory(device))]
    by_part = {name: torch.split(tensor, sizes) for name, tensor in weights.items()}
    scores = []
    for number in range(len(sizes)):
        part = {name: tensors[number].numpy() for name, tensors in by_part.items()}
        network = restore(population.model, population.variant, part).to(device)
        scores.append(score(predict(network, test.images, population.train.validation_batch_size), test.labels))
    return {name: torch.cat([part_scores[name] for part_scores in scores]).cpu() for name in scores[0]}


def save_outcome(path: Path, outcome: Outcome) -> None:
    """Write an outcome."""
    arrays = {name: getattr(outcome, name) for name in OUTCOME_ARRAYS}
    arrays |= {f"{PROBED}{name}": array for name, array in outcome.probed.items()}
    write_atomic(path, safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def load_outcome(path: Path) -> Outcome | None:
    """Read an outcome; return None if the file is missing or damaged."""
    try:
        arrays = safetensors.numpy.load_file(path)
        probed = {name.removeprefix(PROBED): arrays.pop(name) for name in list(arrays) if name.startswith(PROBED)}
        return Outcome(**arrays, probed=probed)
    except (OSError, TypeError, safetensors.SafetensorError):
        return None
