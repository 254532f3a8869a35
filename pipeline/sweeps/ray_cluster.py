"""A Ray cluster that trains the populations of a sweep.

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.data.dataset import Split
from pipeline.errors import UserError
from pipeline.params import Train
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.plan import Task
from pipeline.sweeps.ray_address import check_address
from pipeline.sweeps.ray_worker import split_to_arrays, train_on_worker
from pipeline.sweeps.run import Advance

GIVE_UP = 60.0  # seconds without a node that could train, after which a sweep stops
POLL = 0.5  # seconds between two looks at what has arrived
RETRIES = 5  # times that a population is restarted after its worker or node has died


@contextlib.contextmanager
def connect(address: str, settings: Train) -> Iterator["Cluster"]:
    """Connect to a cluster; on leaving, cancel everything that still runs there.

    Every population gets as many threads as `configure_device` has set in this process, and a GPU if this process or
    the settings would use one.

    Args:
        address: `auto`, `ray://HOST:PORT` or `HOST:PORT`, or `local` for a temporary cluster on this machine.
        settings: The section `train` of the parameters.

    Raises:
        UserError: There is no such cluster, or none of its nodes can train a population.
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
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--ray {address}: {first_sentence(error)}") from None
    except SystemExit:  # Ray's reaction to SIGTERM during its start
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, handler)  # which Ray has replaced
    try:
        gpu = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
        yield Cluster(address, torch.get_num_threads(), gpu)
    finally:
        ray.shutdown()


class Cluster:
    """The cluster that this process is connected to.

    Attributes:
        count: How many populations it can train at the same time.
    """

    def __init__(self, address: str, threads: int, gpu: bool) -> None:
        """Count the populations that fit onto the nodes.

        Args:
            address: The address, for error messages.
            threads: The CPUs that a population takes.
            gpu: Whether a population takes a GPU.

        Raises:
            UserError: None fits.
        """
        self.address = address
        self.threads = threads
        self.gpu = gpu
        self.count = self._capacity()
        if not self.count:
            raise UserError(
                f"--ray {address}: a population takes {threads} CPU{'s' * (threads > 1)}{' and a GPU' * gpu}, "
                "which no node of the cluster has; change train.threads or train.device"
            )

    def train(
        self, tasks: Sequence[Task], split: Split, advance: Advance | None = None
    ) -> Iterator[tuple[Task, Outcome]]:
        """Train the tasks, and yield each with its outcome as it arrives.

        Args:
            tasks: The tasks, of different digests.
            split: The images, on the CPU.
            advance: Called now and then with the number of epochs completed since the last call.

        Raises:
            UserError: The cluster or every node that could train is lost, or the workers of a population keep dying.
        """
        try:
            if tasks:
                yield from self._train(tasks, split, advance)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        except (RayError, ConnectionError) as error:
            raise self._lost(first_sentence(error)) from None

    def _train(self, tasks: Sequence[Task], split: Split, advance: Advance | None) -> Iterator[tuple[Task, Outcome]]:
        arrays = ray.put(split_to_arrays(split))
        progress = ray.remote(Progress).options(num_cpus=0, scheduling_strategy=_this_node()).remote()
        train = ray.remote(train_on_worker).options(num_cpus=self.threads, num_gpus=int(self.gpu), max_retries=RETRIES)
        device = "cuda" if self.gpu else "cpu"
        running = {
            train.remote(task.population, task.probe, arrays, device, self.threads, progress, task.digest): task
            for task in tasks
        }
        epochs = dict.fromkeys((task.digest for task in tasks), 0)
        last_capacity = time.monotonic()
        while running:
            ready, _ = ray.wait(list(running), num_returns=len(running), timeout=POLL)
            arrived = [(running.pop(reference), ray.get(reference)) for reference in ready]
            before = sum(epochs.values())
            for digest, completed in ray.get(progress.epochs.remote()).items():
                epochs[digest] = max(epochs[digest], completed)  # a restarted population does not count backwards
            epochs |= {task.digest: task.epochs() for task, _ in arrived}
            if advance:
                advance(sum(epochs.values()) - before)
            yield from arrived
            if self._capacity():
                last_capacity = time.monotonic()
            elif time.monotonic() - last_capacity > GIVE_UP:
                raise self._lost("no node that could train is left")

    def _capacity(self) -> int:
        """Return how many populations the nodes that are alive can train at the same time."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = [node.get("GPU", 0) if self.gpu else math.inf for node in nodes]
        cpus = [node.get("CPU", 0) // self.threads for node in nodes]
        return sum(int(min(pair)) for pair in zip(cpus, gpus, strict=True))

    def _lost(self, reason: str) -> UserError:
        return UserError(f"--ray {self.address}: {reason}; finished populations are kept, and the same command resumes")


class Progress:
    """An actor that collects how many epochs the workers have completed."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}

    @ray.method
    def update(self, digest: str, epochs: int) -> None:
        """Set the number of epochs of the task with this digest."""
        self._epochs[digest] = epochs

    @ray.method
    def epochs(self) -> dict[str, int]:
        """Return the number of epochs by digest."""
        return self._epochs


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's text or, if the text holds a traceback, of its last error."""
    return " ".join(str(error).rpartition("Error: ")[2].split())[:300].partition(". ")[0].rstrip(".")


def _this_node() -> NodeAffinitySchedulingStrategy:
    """Place an actor on the node of this process, so that it does not die with another node."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
