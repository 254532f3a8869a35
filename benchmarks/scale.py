"""A sweep on more and more workers: measured as far as this machine goes, and computed beyond it."""

import logging
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster

from benchmarks import project
from benchmarks.machine import cores
from benchmarks.settings import read_images
from pipeline import paths
from pipeline.analysis.tables import format_number, markdown_table
from pipeline.data.dataset import Split, split
from pipeline.data.images import ImageFiles
from pipeline.network.device import configure_device
from pipeline.params import VARIANTS, load
from pipeline.sweeps import ray_cluster
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.plan import Task, plan
from pipeline.sweeps.ray_worker import Arrays, split_to_arrays
from pipeline.sweeps.run import train_locally

POINTS = 2  # of the grid for every worker, two populations each

# What the computed table takes for granted, beside what was measured here.
NODES = (10, 100, 1000)
POPULATIONS = 10_100  # in the sweep: both variants at 101 learning rates and 50 batch sizes, say
BANDWIDTH = 1.25e9  # bytes per second that the driver's node sends, to all nodes together: 10 Gbit/s

# This utility of Ray gives its nodes less memory than the data take.
NODE: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 10**9}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """What one machine gives.

    rates: model-epochs per second by number of workers, of one thread each. alone: likewise, of the local sweep with
    one thread. epochs: model-epochs of a population. put, fetch: seconds until the driver's node, and then another
    raylet on this machine, holds the data's `size` bytes. log: seconds for each point that the driver logs.
    """

    alone: float
    rates: Mapping[int, float]
    epochs: int
    size: int
    put: float
    fetch: float
    log: float

    def seconds(self) -> float:
        """Return how long a population takes where every worker of this machine is busy."""
        workers = max(self.rates)
        return self.epochs * workers / self.rates[workers]


@dataclass(frozen=True)
class Projected:
    """The seconds of a sweep's parts on so many nodes, each like the measured machine.

    training: if no worker ever waited. waiting: what the last wave adds, when populations do not divide evenly.
    logging: is done while others train.
    """

    nodes: int
    broadcast: float
    training: float
    waiting: float
    logging: float
    rate: float

    def bottleneck(self) -> str:
        """Return what takes longest."""
        parts = {
            "training": self.training,
            "data broadcast": self.broadcast,
            "stragglers": self.waiting,
            "logging": self.logging,
        }
        return max(parts, key=lambda name: parts[name])


def projected(measured: Measured, nodes: int) -> Projected:
    """Compute the seconds of a sweep of `POPULATIONS` on so many nodes."""
    workers = nodes * max(measured.rates)
    training = POPULATIONS / workers * measured.seconds()
    waiting = math.ceil(POPULATIONS / workers) * measured.seconds() - training
    broadcast = measured.size * nodes / BANDWIDTH
    logging = POPULATIONS * measured.log
    total = broadcast + max(training + waiting, logging)
    return Projected(nodes, broadcast, training, waiting, logging, POPULATIONS * measured.epochs / total)


def measure(progress: Progress) -> Measured:
    """Measure one local sweep, and one with 1, 2, 4 … workers up to the cores of this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    images = read_images()
    examples = split(images, 0, configure_device("cpu", 1))
    with tempfile.TemporaryDirectory() as folder:
        list(train_locally(_tasks(1, images, Path(folder) / "warm")[:1], examples))  # initialises the process
        tasks = _tasks(1, images, Path(folder))  # from the beginning, where no checkpoint is kept
        begun = time.perf_counter()
        list(train_locally(tasks, examples))
        alone = sum(task.epochs() for task in tasks) / (time.perf_counter() - begun)
        progress(f"in this process: {alone:.1f} model-epochs per second")
        rates = {}
        for workers in (2**power for power in range(cores().bit_length())):
            rates[workers] = _rate(workers, _tasks(workers, images, Path(folder)), examples)
            progress(f"workers {workers}: {rates[workers]:.1f} model-epochs per second")
        put, fetch = _broadcast(examples)
        progress(f"data: {put:.2f} s to put, {fetch:.2f} s to fetch")
        points = project.logging(load(paths.PARAMS), VARIANTS[0], 0)
        log = statistics.median(next(points) for _ in range(5))
        progress(f"logging: {log:.2f} s per point")
    size = sum(array.nbytes for part in split_to_arrays(examples)[:2] for array in part)
    return Measured(alone, rates, tasks[0].epochs(), size, put, fetch, log)


def markdown(machine: str, measured: Measured) -> str:
    """Return the measurements, and the seconds computed from them, as a report."""
    lines = [
        "# Beyond one machine",
        "",
        f"{machine}.",
        "Made by `python -m benchmarks scale`.",
        "",
        "## Measured",
        "",
        "Whole sweeps at params.yaml's settings through `--ray`, one thread a worker, workers started",
        f"before the clock; {2 * POINTS} populations for each worker, of {measured.epochs} model-epochs.",
        "",
        *_measurements(measured),
        "",
        "## Computed",
        "",
        f"Seconds of a sweep of {POPULATIONS:,} populations on nodes like this machine. Assumed: the",
        f"data leave the driver's node once for every node, at {BANDWIDTH / 1e9:g} GB/s together, before training;",
        "all populations take equally long, so that stragglers are what the last wave adds; the driver logs one point",
        "after another while others train; nothing else is waited for.",
        "",
        *_projections(measured),
    ]
    return "\n".join(lines) + "\n"


def _measurements(measured: Measured) -> list[str]:
    rows = [["the local sweep, one thread", format_number(measured.alone, 1), ""]]
    for workers, rate in measured.rates.items():
        share = rate / (workers * measured.rates[1])
        rows.append([f"{workers} worker{'s' * (workers > 1)}", format_number(rate, 1), format_number(share, 2)])
    units = [
        ["a population, with every worker busy", f"{measured.seconds():.1f} s"],
        ["data", f"{measured.size / 1e6:.0f} MB"],
        ["data into the driver's object store", f"{measured.put:.2f} s"],
        ["data from there to another raylet on this machine, once", f"{measured.fetch:.2f} s"],
        ["a point logged into MLflow's embedded store, with its seeds", f"{measured.log:.2f} s"],
    ]
    return [
        *markdown_table(["", "model-epochs per second", "of as many times one worker"], rows),
        "",
        *markdown_table(["what", "measured"], units),
    ]


def _projections(measured: Measured) -> list[str]:
    projections = [projected(measured, nodes) for nodes in NODES]
    parts = ["broadcast", "training", "stragglers", "logging"]
    header = ["nodes", "workers", *parts, "model-epochs per second", "longest"]
    computed = [
        [
            str(one.nodes),
            str(one.nodes * max(measured.rates)),
            *(format_number(n, 0) for n in (one.broadcast, one.training, one.waiting, one.logging, one.rate)),
            one.bottleneck(),
        ]
        for one in projections
    ]
    return markdown_table(header, computed)


def _tasks(workers: int, images: ImageFiles, folder: Path) -> list[Task]:
    rates = [f"{rate:.6g}" for rate in np.linspace(0.05, 0.15, POINTS * workers)]
    points = list_points(paths.PARAMS, {"device": "cpu", "threads": "1"}, {"train.lr": rates})
    return plan(points, images, folder)


def _rate(workers: int, tasks: Sequence[Task], split: Split) -> float:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": workers, **NODE})
    try:
        with ray_cluster.connect(cluster.address, tasks[0].population.train) as connected:
            list(connected.train(tasks[: len(VARIANTS) * workers], split))
            begun = time.perf_counter()
            list(connected.train(tasks, split))
            return sum(task.epochs() for task in tasks) / (time.perf_counter() - begun)
    finally:
        cluster.shutdown()


def _broadcast(split: Split) -> tuple[float, float]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    try:
        cluster.add_node(num_cpus=1, **NODE)
        ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        fetch = ray.remote(_fetch)
        ray.get(fetch.remote([]))  # the worker starts
        begun = time.perf_counter()
        arrays = ray.put(split_to_arrays(split))
        put = time.perf_counter() - begun
        return put, ray.get(fetch.remote([arrays]))
    finally:
        ray.shutdown()
        cluster.shutdown()


def _fetch(references: list["ray.ObjectRef[Arrays]"]) -> float:
    begun = time.perf_counter()
    ray.get(references)
    return time.perf_counter() - begun
