"""A Ray cluster that runs the jobs of a sweep.

The driver, which is the process that the user started, writes and logs every outcome. Workers need this project's
requirements and Ray; the package itself is sent to them.
"""

import contextlib
import logging
import math
import os
import signal
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.data.dataset import Split
from pipeline.errors import UserError
from pipeline.network.device import device_memory
from pipeline.params import Data, Train
from pipeline.sweeps.ray_address import check_address
from pipeline.sweeps.ray_worker import run_on_worker, split_to_arrays
from pipeline.training.job import Job, OnJobEpoch, Result
from pipeline.training.loop import Epoch

GIVE_UP = 60.0  # seconds without a node that could train, after which a sweep stops
POLL = 0.5  # seconds between two looks at what has arrived
RETRIES = 5  # times that a job is restarted after its worker or node has died
GPU_MEMORY = 8 * 10**9  # bytes that a node's GPU is taken to have where this process sees none


@contextlib.contextmanager
def connect(address: str, settings: Train, splits: Mapping[Data, Split]) -> Iterator[dict[Data, "Cluster"]]:
    """Connect to a cluster; on leaving, cancel everything that still runs there.

    Args:
        address: `auto`, `ray://HOST:PORT` or `HOST:PORT`, or `local` for a temporary cluster on this machine.
        settings: The section `train` of the parameters.
        splits: The images of every section `data`, on the CPU.

    Raises:
        UserError: There is no such cluster, or none of its nodes can run a job.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    package = {"py_modules": [str(Path(__file__).parents[1])], "excludes": ["__pycache__"]}
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        check_address(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address, runtime_env=package, log_to_driver=False, logging_level=logging.ERROR, **options)
    except UserError:
        raise
    except Exception as error:  # a slow start raises nothing more special
        raise UserError(f"--ray {address}: {first_sentence(error)}") from None
    except SystemExit:  # Ray's reaction to SIGTERM during its start
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, handler)  # which Ray has replaced
    try:
        yield {data: Cluster(address, settings, split) for data, split in splits.items()}
    finally:
        ray.shutdown()


class Cluster:
    """The cluster that this process is connected to.

    Attributes:
        count: How many jobs it can run at the same time.
        memory: The bytes of memory of a node's GPU, or None if jobs take none.
    """

    def __init__(self, address: str, settings: Train, split: Split) -> None:
        """Count the jobs that fit onto the nodes.

        Args:
            address: The address, for error messages.
            settings: The section `train` of the parameters: a job takes a CPU for each of its threads, and a GPU if
                this process or the settings would use one.
            split: The images, on the CPU.

        Raises:
            UserError: None fits.
        """
        gpu = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
        here = device_memory(torch.device("cuda")) if torch.cuda.is_available() else None
        self.memory = here or GPU_MEMORY if gpu else None
        self._address = address
        self._settings = settings
        self._arrays = split_to_arrays(split)
        self.count = self._capacity()
        if not self.count:
            raise UserError(
                f"--ray {address}: a training takes {settings.threads} CPU{'s' * (settings.threads > 1)}"
                f"{' and a GPU' * gpu}, which no node of the cluster has; change train.threads or train.device"
            )

    def start(self) -> None:
        """Do nothing: the cluster is there."""

    def run(self, jobs: Sequence[Job[Result]], on_epoch: OnJobEpoch) -> Iterator[tuple[int, Result]]:
        """Run jobs without their checkpoints, and yield each one's number and result as it arrives.

        Raises:
            UserError: The cluster or every node that could train is lost, or the workers of a job keep dying.
        """
        try:
            if jobs:
                yield from self._run(jobs, on_epoch)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        except (RayError, ConnectionError) as error:
            raise self._lost(first_sentence(error)) from None

    def _run(self, jobs: Sequence[Job[Result]], on_epoch: OnJobEpoch) -> Iterator[tuple[int, Result]]:
        arrays = ray.put(self._arrays)
        progress = ray.remote(Progress).options(num_cpus=0, scheduling_strategy=_this_node()).remote()
        threads, gpu = self._settings.threads, self.memory is not None
        run: Any = ray.remote(run_on_worker).options(num_cpus=threads, num_gpus=int(gpu), max_retries=RETRIES)
        settings = self._settings.model_copy(update={"device": "cuda" if gpu else "cpu"})
        running = {
            run.remote(replace(job, checkpoint=None), arrays, settings, progress, number): number
            for number, job in enumerate(jobs)
        }
        completed = [0] * len(jobs)
        last_capacity = time.monotonic()
        while running:
            ready, _ = ray.wait(list(running), num_returns=len(running), timeout=POLL)
            arrived = [(running.pop(reference), ray.get(reference)) for reference in ready]
            for number, epoch in ray.get(progress.epochs.remote()).items():
                if epoch.number > completed[number]:  # a restarted job does not count backwards
                    completed[number] = epoch.number
                    on_epoch(number, epoch)
            yield from arrived
            if self._capacity():
                last_capacity = time.monotonic()
            elif time.monotonic() - last_capacity > GIVE_UP:
                raise self._lost("no node that could train is left")

    def _capacity(self) -> int:
        """Return how many jobs the nodes that are alive can run at the same time."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = [node.get("GPU", 0) if self.memory else math.inf for node in nodes]
        cpus = [node.get("CPU", 0) // self._settings.threads for node in nodes]
        return sum(int(min(pair)) for pair in zip(cpus, gpus, strict=True))

    def _lost(self, reason: str) -> UserError:
        return UserError(
            f"--ray {self._address}: {reason}; finished populations are kept, and the same command resumes"
        )


class Progress:
    """An actor that collects what epochs the workers have completed."""

    def __init__(self) -> None:
        self._epochs: dict[int, Epoch] = {}

    @ray.method
    def update(self, number: int, epoch: Epoch) -> None:
        """Set the last epoch of the job with this number."""
        self._epochs[number] = epoch

    @ray.method
    def epochs(self) -> dict[int, Epoch]:
        """Return the last epoch of every job that has reported one."""
        return self._epochs


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's text or, if the text holds a traceback, of its last error."""
    return " ".join(str(error).rpartition("Error: ")[2].split())[:300].partition(". ")[0].rstrip(".")


def _this_node() -> NodeAffinitySchedulingStrategy:
    """Place an actor on the node of this process, so that it does not die with another node."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
