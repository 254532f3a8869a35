"""Sweeps with more and more workers on Ray, as far as the cores of this machine go."""

import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster

from benchmarks import project
from benchmarks.machine import cores
from benchmarks.projection import Measured
from benchmarks.scale_report import POPULATIONS_PER_WORKER
from benchmarks.settings import read_images
from pipeline import paths
from pipeline.data.dataset import Split, split
from pipeline.data.images import ImageFiles
from pipeline.network.device import configure_device
from pipeline.params import VARIANTS, load
from pipeline.sweeps import ray_cluster
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.plan import Task, plan
from pipeline.sweeps.ray_worker import Arrays, split_to_arrays
from pipeline.sweeps.run import train_tasks
from pipeline.training.job import ThisProcess, Workers

POINTS = POPULATIONS_PER_WORKER // len(VARIANTS)  # of the grid, for every worker

# Ray's Cluster utility gives its nodes less memory than the images take by default.
NODE: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 10**9}

Progress = Callable[[str], None]


def measure_scale(progress: Progress) -> Measured:
    """Measure a local sweep, sweeps with 1, 2, 4 … workers, the broadcast of the images, and the logging of a point."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    images = read_images()
    params = load(paths.PARAMS, {"device": "cpu"})
    examples = split(images, 0, configure_device(params.train))
    with tempfile.TemporaryDirectory() as folder:
        here = ThisProcess(examples, None)
        list(train_tasks(_tasks(1, images, Path(folder) / "warm")[:1], here))  # initialises the process
        tasks = _tasks(1, images, Path(folder) / "here")  # in another folder, which has no outcome
        alone = _timed(tasks, here)
        progress(f"in this process: {alone:.1f} model-epochs per second")
        rates = {}
        for workers in (2**power for power in range(cores().bit_length())):
            rates[workers] = _rate(workers, images, Path(folder) / str(workers), examples)
            progress(f"workers {workers}: {rates[workers]:.1f} model-epochs per second")
        put, fetch = _broadcast(examples)
        progress(f"data: {put:.2f} s to put, {fetch:.2f} s to fetch")
        points = project.logging(params, VARIANTS[0], 0)
        log = statistics.median(next(points) for _ in range(5))
        progress(f"logging: {log:.2f} s per point")
    size = sum(array.nbytes for part in split_to_arrays(examples)[:2] for array in part)
    return Measured(alone, rates, tasks[0].population.epochs(), size, put, fetch, log)


def _tasks(workers: int, images: ImageFiles, folder: Path) -> list[Task]:
    rates = [f"{rate:.6g}" for rate in np.linspace(0.05, 0.15, POINTS * workers)]
    points = list_points(paths.PARAMS, {"device": "cpu"}, {"train.lr": rates})
    return plan(points, images, folder)


def _rate(workers: int, images: ImageFiles, folder: Path, split: Split) -> float:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": workers, **NODE})
    tasks = _tasks(workers, images, folder)
    try:
        with ray_cluster.connect(cluster.address, tasks[0].population.train, split) as connected:
            list(train_tasks(_tasks(workers, images, folder / "warm")[: len(VARIANTS) * workers], connected))
            return _timed(tasks, connected)
    finally:
        cluster.shutdown()


def _timed(tasks: Sequence[Task], workers: Workers) -> float:
    """Train tasks, and return the model-epochs per second."""
    start = time.perf_counter()
    list(train_tasks(tasks, workers))
    return sum(task.population.epochs() for task in tasks) / (time.perf_counter() - start)


def _broadcast(split: Split) -> tuple[float, float]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    try:
        cluster.add_node(num_cpus=1, **NODE)
        ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        fetch = ray.remote(_fetch)
        ray.get(fetch.remote([]))  # starts the worker
        start = time.perf_counter()
        arrays = ray.put(split_to_arrays(split))
        put = time.perf_counter() - start
        return put, ray.get(fetch.remote([arrays]))
    finally:
        ray.shutdown()
        cluster.shutdown()


def _fetch(references: list["ray.ObjectRef[Arrays]"]) -> float:
    start = time.perf_counter()
    ray.get(references)
    return time.perf_counter() - start
