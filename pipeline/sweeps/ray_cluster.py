"""The populations of a sweep on a Ray cluster; the only importer of ray.

The driver, which is the process that the user started, writes and logs every outcome. Workers need this project's
requirements and Ray; the package itself is sent to them.
"""

import contextlib
import logging
import math
import os
import signal
import socket
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray._private.services import canonicalize_bootstrap_address
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.data.dataset import Examples, Split
from pipeline.errors import UserError
from pipeline.network.device import prepare
from pipeline.params import Train
from pipeline.sweeps import outcome
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.probe import Probe
from pipeline.training.population import Population

if TYPE_CHECKING:
    from ray.actor import ActorProxy

    from pipeline.sweeps.plan import Task
    from pipeline.sweeps.run import Advance

Arrays = Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]  # images and labels: training, validation, test

PATIENCE = 5.0  # seconds for an address to answer
ABANDONED = 60.0  # seconds without any node that could train, after which a sweep gives up
POLL = 0.5  # seconds between two looks at what has come back
REPORT = 2.0  # seconds between two reports of a worker's progress
RETRIES = 5  # times that a population is begun anew because its worker or node has died
CLIENT_PORT = 10001  # of ray://HOST, by Ray's own choice


@contextlib.contextmanager
def connect(address: str, settings: Train) -> Iterator["Cluster"]:
    """Connect to the cluster at `auto`, `ray://HOST:PORT` or `HOST:PORT`, or to one made for the time being, `local`.

    Every population gets as many threads as `device.prepare` has set here, and a GPU where this process or the settings
    would take one. Leaving cancels what still runs.

    Raises:
        UserError: there is no such cluster, or none of its nodes can train a population.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    package = {"py_modules": [str(Path(__file__).parents[1])], "excludes": ["__pycache__"]}
    own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    stop = signal.getsignal(signal.SIGTERM)
    try:
        _reach(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address, runtime_env=package, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--ray {address}: {_words(error)}") from None
    except SystemExit:  # Ray's answer to SIGTERM while it starts
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, stop)  # Ray puts one of its own there
    try:
        gpu = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
        yield Cluster(address, torch.get_num_threads(), gpu)
    finally:
        ray.shutdown()


class Cluster:
    """The cluster that this process is connected to; `count` populations are trained on it at the same time."""

    def __init__(self, address: str, threads: int, gpu: bool) -> None:
        self.address = address
        self.threads = threads
        self.gpu = gpu
        self.count = self._room()
        if not self.count:
            raise UserError(
                f"--ray {address}: a population takes {threads} CPU{'s' * (threads > 1)}{' and a GPU' * gpu}, "
                "which no node of the cluster has; train.threads and train.device say how many and whether"
            )

    def train(self, tasks: Sequence["Task"], split: Split, advance: "Advance") -> Iterator[tuple["Task", Outcome]]:
        """Train the tasks, and give their outcomes as they come.

        Raises:
            UserError: the cluster or all nodes that could train are lost, or a population's workers die again and
                again.
        """
        try:
            if tasks:
                yield from self._train(tasks, split, advance)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        except (RayError, ConnectionError) as error:
            raise self._lost(_words(error)) from None

    def _train(self, tasks: Sequence["Task"], split: Split, advance: "Advance") -> Iterator[tuple["Task", Outcome]]:
        arrays = ray.put(_arrays(split))
        reports = ray.remote(_Reports).options(num_cpus=0, scheduling_strategy=_here()).remote()
        train = ray.remote(_population).options(num_cpus=self.threads, num_gpus=int(self.gpu), max_retries=RETRIES)
        device = "cuda" if self.gpu else "cpu"
        running = {
            train.remote(task.population, task.probe, arrays, device, self.threads, reports, task.digest): task
            for task in tasks
        }
        epochs = dict.fromkeys((task.digest for task in tasks), 0)
        seen = time.monotonic()
        while running:
            ready, _ = ray.wait(list(running), num_returns=len(running), timeout=POLL)
            came = [(running.pop(one), ray.get(one)) for one in ready]
            before = sum(epochs.values())
            for digest, done in ray.get(reports.read.remote()).items():
                epochs[digest] = max(epochs[digest], done)  # one that is begun anew is no step back
            epochs |= {task.digest: task.epochs() for task, _ in came}
            advance(sum(epochs.values()) - before)
            yield from came
            if self._room():
                seen = time.monotonic()
            elif time.monotonic() - seen > ABANDONED:
                raise self._lost("all nodes that could train are gone")

    def _room(self) -> int:
        """Return how many populations the nodes that are alive can train at the same time."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = [node.get("GPU", 0) if self.gpu else math.inf for node in nodes]
        return sum(int(min(node.get("CPU", 0) // self.threads, own)) for node, own in zip(nodes, gpus, strict=True))

    def _lost(self, words: str) -> UserError:
        return UserError(f"--ray {self.address}: {words}; what came back is kept, and the same command resumes")


class _Reports:
    """An actor to which workers tell how far they are."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}

    @ray.method
    def tell(self, digest: str, epochs: int) -> None:
        self._epochs[digest] = epochs

    @ray.method
    def read(self) -> dict[str, int]:
        return self._epochs


def _here() -> NodeAffinitySchedulingStrategy:
    """Return the place of this process: no node that dies may take along what lies there."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _population(
    population: Population,
    probe: Probe | None,
    arrays: Arrays,
    device: str,
    threads: int,
    reports: "ActorProxy[_Reports]",
    digest: str,
) -> Outcome:
    """Train a population on a worker."""
    split = _split(arrays, prepare(device, threads))
    done, told = 0, time.monotonic()

    def advance(epochs: int) -> None:
        nonlocal done, told
        done += epochs
        if time.monotonic() - told >= REPORT:
            reports.tell.remote(digest, done)  # without waiting: Ray gives the cores of one that waits to another
            told = time.monotonic()

    return outcome.run(population, split, probe, None, advance)


def _arrays(split: Split) -> Arrays:
    """Return arrays, which the workers of a node share; validation on the test images stays one and the same."""
    parts = (split.train, split.validation, split.test)
    arrays = {id(part): (part.images.numpy(), part.labels.numpy()) for part in parts}
    return [arrays[id(part)] for part in parts]


def _split(arrays: Arrays, device: torch.device) -> Split:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # and nothing writes there
        parts = [[torch.from_numpy(array).to(device) for array in part] for part in arrays]
    return Split(*(Examples(*part) for part in parts))


def _reach(address: str) -> None:
    """Check that something that may be Ray, which speaks gRPC, answers at an address: Ray itself waits for minutes.

    Raises:
        UserError: nothing does, or it is no address.
    """
    if address == "local":
        return
    try:
        # Ray's own reading: of `auto` it makes the cluster that was started here last, of 127.0.0.1 another address.
        found = address if address.startswith("ray://") else canonicalize_bootstrap_address(address)
        if found is None:
            return
        place = urlsplit(found if "://" in found else f"//{found}")
        port = place.port or (CLIENT_PORT if place.scheme == "ray" else None)
        if not place.hostname or not port or place.scheme not in ("", "ray"):
            raise ValueError
    except ValueError:
        raise UserError(f"--ray {address}: should be auto, local, ray://HOST:PORT or HOST:PORT") from None
    at = f"--ray {address}" + ("" if found == address else f" ({found})")
    try:
        socket.create_connection((place.hostname, port), PATIENCE).close()
        if not os.environ.get("RAY_USE_TLS"):
            with grpc.insecure_channel(place.netloc if place.port else f"{place.netloc}:{port}") as channel:
                grpc.channel_ready_future(channel).result(PATIENCE)
    except OSError as error:
        raise UserError(f"{at}: cannot be reached: {error.strerror or error}") from None
    except grpc.FutureTimeoutError:
        raise UserError(f"{at}: what answers there is not Ray") from None


def _words(error: Exception) -> str:
    """Return an error's first sentence; of a traceback in words, its last line's."""
    return " ".join(str(error).rpartition("Error: ")[2].split())[:300].partition(". ")[0].rstrip(".")
