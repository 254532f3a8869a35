"""This project's populations and sweeps, and the matrix products that no implementation can avoid."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from benchmarks.scale_report import POPULATIONS_PER_WORKER
from benchmarks.settings import LARGE_BATCH, STUDY, read_images
from pipeline import paths
from pipeline.data.dataset import Split, split
from pipeline.data.images import ImageFiles
from pipeline.network.device import configure_device
from pipeline.network.perceptron import widths
from pipeline.params import VARIANTS, Params, Train, Variant
from pipeline.parts import cut
from pipeline.sweeps.grid import list_points, parse_grid
from pipeline.sweeps.plan import Task, plan
from pipeline.sweeps.run import train_tasks
from pipeline.sweeps.study import load_study
from pipeline.training.job import Job, Workers
from pipeline.training.loop import OnEpoch, fit
from pipeline.training.population import Population
from pipeline.workers import count_workers, open_workers

EPOCHS_OF_PRODUCTS = 5  # in one measurement: a single epoch is too short to be timed
EPOCHS_OF_SWEEP = "2"
POINTS = POPULATIONS_PER_WORKER // len(VARIANTS)  # of a sweep's grid, for every worker


class _TimedJob(Job[tuple[float, float]]):
    """The training of a part, without measurements."""

    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> tuple[float, float]:
        """Train, and return when that began and ended, by the system's clock."""
        start = time.perf_counter()
        fit(self.part, split.train, on_epoch=on_epoch)
        return start, time.perf_counter()


def epochs(params: Params, variant: Variant, batch: int, workers: int = 0, **changes: object) -> Iterator[float]:
    """Yield the seconds per epoch and network of trainings of all seeds, from the first worker's start to the last end.

    At the lab's batch size a training has all epochs, because plain networks saturate in the later ones; at smaller
    batches it has one. `changes` are settings of the section `train`.
    """
    count = params.train.epochs if batch == LARGE_BATCH else 1
    settings = _settings(params.train, workers, batch_size=batch, epochs=count, **changes)
    population = Population(variant, params.model, settings, settings.seeds)
    examples = split(read_images(), 0, configure_device(settings))
    with open_workers(settings, examples, population.epochs()) as opened:
        while True:
            jobs = [_TimedJob(part, None) for part in cut(population, opened.count, None, None)]
            times = [seconds for _, seconds in opened.run(jobs, lambda *_: None)]
            starts, ends = zip(*times, strict=True)
            yield (max(ends) - min(starts)) / population.epochs()


def sweep(params: Params, _variant: Variant, _batch: int, workers: int = 0) -> Iterator[float]:
    """Yield the seconds per epoch and network of whole sweeps over learning rates, as `list_tasks` plans them."""
    count = count_workers(_settings(params.train), sys.maxsize)
    return _sweeps(_settings(params.train, workers), partial(list_tasks, count, epochs=EPOCHS_OF_SWEEP))


def shift(params: Params, _variant: Variant, _batch: int, *, probed: bool = True) -> Iterator[float]:
    """Yield the seconds per epoch and network of one epoch of a study, probed as often as its epochs are on average."""
    study = load_study(STUDY)
    assert study.probe
    *_, last = steps = list(study.probe.steps())
    probe = replace(study.probe, every=last // (len(steps) - 1)) if probed else None
    grids = [parse_grid(texts) for texts in study.grids]
    points = list_points(paths.PARAMS, {**study.overrides, "train.epochs": "1", "train.device": "cpu"}, *grids)

    def plan_study(images: ImageFiles, folder: Path) -> Sequence[Task]:
        return plan(points, {points[0].params.data: images}, folder, probe)

    return _sweeps(_settings(params.train), plan_study)


def _sweeps(settings: Train, plan: Callable[[ImageFiles, Path], Sequence[Task]]) -> Iterator[float]:
    images = read_images()
    with open_workers(settings, split(images, 0, configure_device(settings)), sys.maxsize) as opened:
        while True:
            with tempfile.TemporaryDirectory() as folder:
                yield 1 / rate(plan(images, Path(folder)), opened)


def list_tasks(workers: int, images: ImageFiles, folder: Path, **overrides: str) -> list[Task]:
    """Return a sweep over learning rates that has the same number of populations for each worker."""
    rates = [f"{rate:.6g}" for rate in np.linspace(0.05, 0.15, POINTS * workers)]
    points = list_points(paths.PARAMS, {"device": "cpu", **overrides}, {"train.lr": rates})
    return plan(points, {points[0].params.data: images}, folder)


def rate(tasks: Sequence[Task], workers: Workers) -> float:
    """Train tasks, and return the model-epochs per second."""
    start = time.perf_counter()
    list(train_tasks(tasks, workers))
    return sum(task.population.epochs() for task in tasks) / (time.perf_counter() - start)


def products(params: Params, _variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds per epoch of one network's products: forward, and backward for weights and hidden inputs.

    They are the same for both variants, because Batch Normalization multiplies no matrices.
    """
    images = split(read_images(), 0, configure_device(_settings(params.train, 1))).train.images
    pairs = list(pairwise(widths(params.model)))
    weights = [torch.rand(pair) for pair in pairs]
    hidden = [torch.rand(len(images), outputs) for _, outputs in pairs]
    batches = list(zip(*(torch.split(values, batch) for values in (images, *hidden)), strict=True))
    while True:
        start = time.perf_counter()
        for values in batches * EPOCHS_OF_PRODUCTS:
            for number, (inputs, gradient, weight) in enumerate(zip(values, values[1:], weights, strict=False)):
                torch.mm(inputs, weight)
                torch.mm(inputs.T, gradient)
                if number > 0:
                    torch.mm(gradient, weight.T)
        yield (time.perf_counter() - start) / EPOCHS_OF_PRODUCTS


def _settings(train: Train, workers: int = 0, **changes: object) -> Train:
    """Return the settings of a training by `workers` processes of one thread; 0 are as many as there are cores."""
    fixed = train.model_copy(update={"device": "cpu", "threads": 1, "workers": "auto", **changes})
    return fixed.model_copy(update={"workers": workers or count_workers(fixed, sys.maxsize)})
