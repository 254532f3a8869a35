"""The plan of a sweep: for each point of the grid a population of each variant, and the file of its outcome."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.data.dataset import Examples, Split, check_batches, split
from pipeline.data.images import ImageFiles
from pipeline.network.device import memory, prepare
from pipeline.params import VARIANTS, Model, Params, Variant
from pipeline.sweeps import outcome
from pipeline.sweeps.grid import Point
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.probe import Probe
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.loop import fit
from pipeline.training.population import Population


@dataclass(frozen=True)
class Task:
    """One population of a sweep, and the file that keeps its outcome."""

    point: Point
    variant: Variant
    population: Population
    probe: Probe | None
    digest: str
    file: Path

    def load_outcome(self) -> Outcome | None:
        """Return the outcome that an earlier sweep has kept, if any."""
        return outcome.read(self.file)

    def epochs(self) -> int:
        """Return how many epochs its training takes, summed over its members."""
        return len(self.population.seeds) * self.population.train.epochs

    def checkpoint(self) -> Checkpoint:
        """Return where its training is kept while it lasts."""
        return Checkpoint(self.file.with_suffix(".checkpoint"))


def load_split(params: Params, points: Sequence[Point], images: ImageFiles, device: str | None = None) -> Split:
    """Put the images onto `train.device` or another one, and check that every point can be trained on them.

    Raises:
        UserError: One cannot.
    """
    examples = split(images, params.data.holdout, prepare(device or params.train.device, params.train.threads))
    for point in points:
        check_batches(examples, point.params.train.batch_size)
    return examples


def plan(points: Sequence[Point], images: ImageFiles, folder: Path, probe: Probe | None = None) -> list[Task]:
    """List the populations of a sweep whose outcomes are kept in `folder`: for each point, one of each variant."""
    tasks = []
    for point in points:
        for variant in VARIANTS:
            train = point.params.train
            population = Population(variant, _model(point.params, variant), train, train.seeds)
            digest = outcome.digest(population, point.params.data.holdout, images.digest, probe)
            tasks.append(Task(point, variant, population, probe, digest, folder / f"{digest}.safetensors"))
    return tasks


def estimate(tasks: Sequence[Task], examples: Split) -> float:
    """Estimate the seconds that the tasks take, from a short training of the first seeds of each kind."""
    seconds: dict[tuple[object, ...], float] = {}
    total = 0.0
    for task in tasks:
        train = task.population.train
        kind = (task.variant, task.population.model, train.batch_size, train.optimizer)
        if kind not in seconds:
            few = Examples(examples.train.images[:6000], examples.train.labels[:6000])
            part = next(task.population.parts(memory(examples.train.images.device)))
            start = time.perf_counter()
            fit(replace(part, train=train.model_copy(update={"epochs": 1})), few, lambda _: {})
            seconds[kind] = (time.perf_counter() - start) / len(part.seeds) / len(few)
        total += seconds[kind] * len(examples.train) * task.epochs()
    return total


def _model(params: Params, variant: Variant) -> Model:
    """Return the network to train: without Batch Normalization or noise, its position makes no difference."""
    if variant == "plain" and not params.model.noise:
        return params.model.model_copy(update={"batchnorm_position": "after_activation"})
    return params.model
