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
from pipeline.sweeps.run import train_locally

POINTS = POPULATIONS_PER_WORKER // len(VARIANTS)  # of the grid, for every worker

# Ray's Cluster utility gives its nodes less memory than the images take by default.
NODE: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 10**9}

Progress = Callable[[str], None]


def measure_scale(progress: Progress) -> Measured:
    """Measure a local sweep, sweeps with 1, 2, 4 … workers, the broadcast of the images, and the logging of a point."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    images = read_images()
    examples = split(images, 0, configure_device("cpu", 1))
    with tempfile.TemporaryDirectory() as folder:
        list(train_locally(_tasks(1, images, Path(folder) / "warm")[:1], examples))  # initialises the process
        tasks = _tasks(1, images, Path(folder))  # in another folder, which has no checkpoint
        start = time.perf_counter()
        list(train_locally(tasks, examples))
        alone = sum(task.epochs() for task in tasks) / (time.perf_counter() - start)
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


def _tasks(workers: int, images: ImageFiles, folder: Path) -> list[Task]:
    rates = [f"{rate:.6g}" for rate in np.linspace(0.05, 0.15, POINTS * workers)]
    points = list_points(paths.PARAMS, {"device": "cpu", "threads": "1"}, {"train.lr": rates})
    return plan(points, images, folder)


def _rate(workers: int, tasks: Sequence[Task], split: Split) -> float:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": workers, **NODE})
    try:
        with ray_cluster.connect(cluster.address, tasks[0].population.train) as connected:
            list(connected.train(tasks[: len(VARIANTS) * workers], split))
            start = time.perf_counter()
            list(connected.train(tasks, split))
            return sum(task.epochs() for task in tasks) / (time.perf_counter() - start)
    finally:
        cluster.shutdown()


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
