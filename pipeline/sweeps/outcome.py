"""The outcomes of a sweep's populations: trained and tested in parts, and stored in a file for each part.

A population's files are in a folder that is named by what determines each of its members but the seed. Whoever needs
some seeds takes them from whatever files hold them, so that further seeds are all that a larger sweep trains.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from pipeline.analysis.statistics import Bools
from pipeline.data.dataset import Examples, Split
from pipeline.files import write_atomic
from pipeline.network.metrics import predict, score
from pipeline.network.network import Network
from pipeline.network.perceptron import restore
from pipeline.sweeps.probe import Probe
from pipeline.training.history import Floats, diverged_at
from pipeline.training.job import Job
from pipeline.training.loop import OnEpoch, fit
from pipeline.training.population import Population, name_of

PROBED = "probed."  # prefix of a probe's measurements in the file of an outcome
SEEDS = "seeds"  # in the file of an outcome
IMAGES = "images"  # how many bits of each row of `correct` are meant, in the file of an outcome


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
        correct: Whether each test image was classified rightly after training [seeds, images].
    """

    train_loss: Floats
    validation_loss: Floats
    validation_accuracy: Floats
    test_loss: Floats
    test_accuracy: Floats
    diverged_at: Floats
    probed: dict[str, Floats] = field(default_factory=dict)
    correct: Bools = field(default_factory=lambda: np.zeros((0, 0), bool))

    @classmethod
    def join(cls, parts: Sequence["Outcome"]) -> Self:
        """Return the outcome of all members of some parts, in this order."""
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in OUTCOME_ARRAYS}
        probed = {name: np.concatenate([part.probed[name] for part in parts]) for name in parts[0].probed}
        return cls(**arrays, probed=probed)

    def member(self, at: int) -> Self:
        """Return the outcome of one member, with the other arrays' axes as they are."""
        arrays = {name: getattr(self, name)[at : at + 1] for name in OUTCOME_ARRAYS}
        return type(self)(**arrays, probed={name: array[at : at + 1] for name, array in self.probed.items()})


OUTCOME_ARRAYS = [attribute.name for attribute in fields(Outcome) if attribute.name != "probed"]


def outcome_digest(population: Population, holdout: int, images: str, probe: Probe | None = None) -> str:
    """Return a SHA-256 of everything but its seed that determines a member's outcome.

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


@dataclass(frozen=True)
class OutcomeJob(Job[Outcome]):
    """The training and test of one part of a population.

    Attributes:
        probe: The study's probe, if any.
    """

    probe: Probe | None = None

    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> Outcome:
        """Train and test the networks on the device of the images."""
        batch_size = self.part.train.validation_batch_size

        def measure(network: Network) -> dict[str, Tensor]:
            return score(predict(network, split.validation.images, batch_size), split.validation.labels)

        probing = self.probe.probing(self.part, split) if self.probe else None
        checkpoint = self.open_checkpoint()
        with torch.enable_grad():
            trained = fit(self.part, split.train, measure, probing=probing, checkpoint=checkpoint, on_epoch=on_epoch)
        loss = trained.loss.double().numpy()
        tested = _test(self.part, trained.weights, split.test)
        return Outcome(
            train_loss=loss.reshape(len(loss), self.part.train.epochs, -1).mean(axis=2),
            validation_loss=trained.measured["loss"].double().numpy(),
            validation_accuracy=trained.measured["accuracy"].numpy(),
            test_loss=tested["loss"].double().numpy(),
            test_accuracy=tested["accuracy"].numpy(),
            diverged_at=diverged_at(loss),
            probed={name: tensor.double().numpy() for name, tensor in trained.probed.items()},
            correct=tested["correct"].numpy(),
        )


@torch.no_grad()
def _test(part: Population, weights: Mapping[str, Tensor], test: Examples) -> dict[str, Tensor]:
    """Score the trained members on the test images."""
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    network = restore(part.model, part.variant, arrays).to(test.images.device)
    logits = predict(network, test.images, part.train.validation_batch_size)
    scores = {**score(logits, test.labels), "correct": logits.argmax(2) == test.labels}
    return {name: values.cpu() for name, values in scores.items()}


def outcome_file(folder: Path, seeds: Sequence[int]) -> Path:
    """Return the file for the outcome of a part with these seeds."""
    return folder / f"{name_of(seeds)}.safetensors"


def save_outcome(folder: Path, seeds: Sequence[int], outcome: Outcome) -> None:
    """Write the outcome of a part into the folder of its population."""
    arrays = {name: getattr(outcome, name) for name in OUTCOME_ARRAYS}
    arrays |= {f"{PROBED}{name}": array for name, array in outcome.probed.items()}
    arrays[SEEDS] = np.array(seeds)
    arrays[IMAGES] = np.array(outcome.correct.shape[1])
    arrays["correct"] = np.packbits(outcome.correct, axis=1)
    content = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    write_atomic(outcome_file(folder, seeds), content, shared=True)


def stored_seeds(folder: Path) -> set[int]:
    """Return the seeds whose outcomes the files of a population hold."""
    return {seed for seeds, _ in _files(folder) for seed in seeds}


def load_outcome(folder: Path, seeds: Sequence[int]) -> Outcome | None:
    """Read the outcome of members with these seeds; return None if one is missing or its file is damaged."""
    members: dict[int, Outcome] = {}
    for stored, path in _files(folder):
        wanted = (set(seeds) - members.keys()) & set(stored)
        if wanted and (outcome := _load(path)):
            members |= {seed: outcome.member(stored.index(seed)) for seed in wanted}
    return Outcome.join([members[seed] for seed in seeds]) if members.keys() >= set(seeds) else None


def _files(folder: Path) -> Iterator[tuple[list[int], Path]]:
    """List the files of a population with their seeds, without those that are damaged."""
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                seeds = file.get_tensor(SEEDS).tolist()
                if set(file.keys()) >= {*OUTCOME_ARRAYS}:
                    yield seeds, path
        except (OSError, safetensors.SafetensorError):
            continue


def _load(path: Path) -> Outcome | None:
    try:
        arrays = safetensors.numpy.load_file(path)
        del arrays[SEEDS]
        arrays["correct"] = np.unpackbits(arrays["correct"], axis=1, count=arrays.pop(IMAGES).item()).astype(bool)
        probed = {name.removeprefix(PROBED): arrays.pop(name) for name in list(arrays) if name.startswith(PROBED)}
        return Outcome(**arrays, probed=probed)
    except (OSError, TypeError, ValueError, KeyError, safetensors.SafetensorError):
        return None
