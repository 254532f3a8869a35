"""Sweeps with more and more workers on Ray, as far as the cores of this machine go."""

import logging
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster

from benchmarks.machine import cores
from benchmarks.project import list_tasks, rate
from benchmarks.rounds import Progress
from benchmarks.scale_report import Measured
from benchmarks.settings import read_images
from pipeline import paths
from pipeline.data.dataset import Split, split
from pipeline.data.images import ImageFiles
from pipeline.network.device import configure_device
from pipeline.params import VARIANTS, Params, load
from pipeline.records.sweeps import log_point
from pipeline.sweeps import ray_cluster
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.ray_worker import Arrays, split_to_arrays
from pipeline.sweeps.run import UNKNOWN, train_tasks
from pipeline.training.job import ThisProcess

# Ray's Cluster utility gives its nodes less memory than the images take by default.
NODE: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 10**9}


def measure_scale(progress: Progress) -> Measured:
    """Measure a local sweep, sweeps with 1, 2, 4 … workers, the broadcast of the images, and the logging of a point."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    images = read_images()
    params = load(paths.PARAMS, {"device": "cpu"})
    examples = split(images, 0, configure_device(params.train))
    with tempfile.TemporaryDirectory() as folder:
        here = ThisProcess(examples, None)
        list(train_tasks(list_tasks(1, images, Path(folder) / "warm")[:1], here))  # initialises the process
        tasks = list_tasks(1, images, Path(folder) / "here")  # in another folder, which has no outcome
        alone = rate(tasks, here)
        progress(f"in this process: {alone:.1f} model-epochs per second")
        rates = {}
        for workers in (2**power for power in range(cores().bit_length())):
            rates[workers] = _rate(workers, images, Path(folder) / str(workers), examples)
            progress(f"workers {workers}: {rates[workers]:.1f} model-epochs per second")
        put, fetch = _broadcast(examples)
        progress(f"data: {put:.2f} s to put, {fetch:.2f} s to fetch")
        log = statistics.median(_logging(params, images))
        progress(f"logging: {log:.2f} s per point")
    size = sum(array.nbytes for part in split_to_arrays(examples)[:2] for array in part)
    return Measured(alone, rates, tasks[0].population.epochs(), size, put, fetch, log)


def _rate(workers: int, images: ImageFiles, folder: Path, split: Split) -> float:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": workers, **NODE})
    tasks = list_tasks(workers, images, folder)
    try:
        data = tasks[0].point.params.data
        with ray_cluster.connect(cluster.address, tasks[0].population.train, {data: split}) as connected:
            list(train_tasks(list_tasks(workers, images, folder / "warm")[: len(VARIANTS) * workers], connected[data]))
            return rate(tasks, connected[data])
    finally:
        cluster.shutdown()


def _logging(params: Params, images: ImageFiles) -> Iterator[float]:
    """Yield the seconds in which a point of a sweep, with every seed, is recorded in a temporary embedded store."""
    seeds, epochs = len(params.train.seeds), params.train.epochs
    per_epoch, measured = np.random.rand(seeds, epochs), np.random.rand(seeds, epochs + 1)
    outcome = Outcome(per_epoch, measured, measured, measured[:, 0], measured[:, 0], np.zeros(seeds))
    with tempfile.TemporaryDirectory() as name:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{name}/mlflow.db"
        first, *tasks = list_tasks(2, images, Path(name))
        log_point("benchmark", images, first, outcome, UNKNOWN)  # creates the store
        for task in tasks:
            start = time.perf_counter()
            log_point("benchmark", images, task, outcome, UNKNOWN)
            yield time.perf_counter() - start


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
