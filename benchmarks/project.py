"""This project's training loop, and the matrix products that no implementation can avoid."""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.settings import LARGE_BATCH, read_images
from pipeline import paths
from pipeline.data.dataset import Examples, split
from pipeline.network.perceptron import widths
from pipeline.params import Params, Variant
from pipeline.records import sweeps as sweep_records
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.plan import plan
from pipeline.training.loop import fit
from pipeline.training.population import Population

EPOCHS_OF_PRODUCTS = 5  # in one measurement: a single epoch is too short to be timed


def epochs(params: Params, variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds per epoch and network of trainings of all seeds, without measurements.

    At the lab's batch size a training has all epochs, because plain networks saturate in the later ones; at smaller
    batches it has one.
    """
    examples = _images()
    count = params.train.epochs if batch == LARGE_BATCH else 1
    settings = params.train.model_copy(update={"batch_size": batch, "epochs": count})
    population = Population(variant, params.model, settings, settings.seeds)
    few = Examples(examples.images[: 2 * batch], examples.labels[: 2 * batch])
    fit(population, few)  # initialises the process
    while True:
        start = time.perf_counter()
        fit(population, examples)
        yield (time.perf_counter() - start) / (len(settings.seeds) * count)


@dataclass(frozen=True)
class _Layer:
    """The factors of a layer's products, for one batch of images."""

    inputs: Tensor
    weight: Tensor
    gradient: Tensor


def products(params: Params, _variant: Variant, batch: int) -> Iterator[float]:
    """Yield the seconds per epoch of one network's products: forward, and backward for weights and hidden inputs.

    They are the same for both variants, because Batch Normalization multiplies no matrices.
    """
    images = _images().images
    pairs = list(pairwise(widths(params.model)))
    weights = [torch.rand(pair) for pair in pairs]
    hidden = [torch.rand(len(images), outputs) for _, outputs in pairs]
    values = [images, *hidden]
    batches = [
        [
            _Layer(values[at][start : start + batch], weight, hidden[at][start : start + batch])
            for at, weight in enumerate(weights)
        ]
        for start in range(0, len(images), batch)
    ]
    _multiply(batches)
    while True:
        start_time = time.perf_counter()
        for _ in range(EPOCHS_OF_PRODUCTS):
            _multiply(batches)
        yield (time.perf_counter() - start_time) / EPOCHS_OF_PRODUCTS


def logging(params: Params, _variant: Variant, _batch: int) -> Iterator[float]:
    """Yield the seconds in which one point of a sweep, with every seed, is recorded in a temporary embedded store."""
    grid = {"train.lr": [str(0.001 + at / 1e6) for at in range(1000)]}
    seeds, epochs = len(params.train.seeds), params.train.epochs
    per_epoch, measured = np.random.rand(seeds, epochs), np.random.rand(seeds, epochs + 1)
    outcome = Outcome(per_epoch, measured, measured, measured[:, 0], measured[:, 0], np.zeros(seeds))
    with tempfile.TemporaryDirectory() as name:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{name}/mlflow.db"
        images = read_images()
        tasks = plan(list_points(paths.PARAMS, {}, grid), images, Path(name))
        sweep_records.log_point("benchmark", images, tasks[0], outcome)  # creates the store
        for task in tasks[1:]:
            start = time.perf_counter()
            sweep_records.log_point("benchmark", images, task, outcome)
            yield time.perf_counter() - start


def _multiply(batches: list[list[_Layer]]) -> None:
    for layers in batches:
        for number, layer in enumerate(layers):
            torch.mm(layer.inputs, layer.weight)
            torch.mm(layer.inputs.T, layer.gradient)
            if number > 0:
                torch.mm(layer.gradient, layer.weight.T)


def _images() -> Examples:
    return split(read_images(), 0, torch.device("cpu")).train
