"""Worker processes on this machine, each with its own threads; the images are in memory once.

Workers are forked from a server that has imported PyTorch and nothing has been computed in. They end with this process,
however it ends.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import pairwise
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import SimpleQueue
from typing import Any, Self

import joblib
import torch
from torch import Tensor

from pipeline.data.dataset import Examples, Split
from pipeline.errors import UserError
from pipeline.network.device import configure_device, device_memory
from pipeline.network.perceptron import widths
from pipeline.params import Train
from pipeline.training.job import Job, OnJobEpoch, Result, ThisProcess, Workers
from pipeline.training.loop import Epoch

POLL = 0.2  # seconds between two looks at what the workers report
ATTEMPTS = 2  # of a job whose worker is killed
WORTH_A_WORKER = 500_000  # images, counted once for each network and epoch: fewer are trained sooner than one starts

_Shared = Sequence[tuple[Any, Any]]  # the pixels and labels of training, validation and test images, in shared memory


@contextlib.contextmanager
def open_workers(settings: Train, split: Split, model_epochs: int) -> Iterator[Workers]:
    """Choose what runs jobs: on the CPU worker processes, as many as `train.workers` says.

    Args:
        settings: The section `train` of the parameters.
        split: The images, on the device that computes.
        model_epochs: How many epochs all jobs take together, summed over networks.
    """
    device = split.train.images.device
    count = count_workers(settings, model_epochs * len(split.train)) if device.type == "cpu" else 1
    if count == 1:
        yield ThisProcess(split, device_memory(device))
        return
    with Pool(count, settings, split) as pool:
        del split  # which the pool has copied
        yield pool


def count_workers(settings: Train, images: int) -> int:
    """Return `train.workers` or, if it is `auto`, as many workers as there are cores and work for.

    Cores are those that this process may use: its affinity and the quota of its container are considered.

    Args:
        settings: The section `train` of the parameters.
        images: How many images are trained on, counted once for each network and epoch.
    """
    if settings.workers != "auto":
        return settings.workers
    cores: int = joblib.cpu_count()
    return max(1, min(cores // settings.threads, images // WORTH_A_WORKER))


class Pool:
    """Worker processes, which run jobs, and end with the context.

    Attributes:
        count: The number of workers.
    """

    memory = None

    def __init__(self, count: int, settings: Train, split: Split) -> None:
        self.count = count
        self._settings = settings
        self._context = multiprocessing.get_context("forkserver")
        self._shared = _share(split, self._context)
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def start(self) -> None:
        """Have PyTorch imported for the workers while this process goes on."""
        self._context.set_forkserver_preload([__name__])
        with _ignored(signal.SIGINT):  # Ctrl-C reaches the workers too, and is this process's to answer
            forkserver.ensure_running()

    def run(self, jobs: Sequence[Job[Result]], on_epoch: OnJobEpoch) -> Iterator[tuple[int, Result]]:
        """Run jobs, the longest first, and yield each one's number and result as it arrives.

        Raises:
            UserError: A job's worker was killed, and so was the one that tried the job again.
        """
        self.start()
        left = dict(sorted(enumerate(jobs), key=lambda numbered: _length(numbered[1]), reverse=True))
        killed: Counter[int] = Counter()
        while left:
            dead: set[int] = set()
            try:
                for number, result in self._run(left, on_epoch, dead):
                    del left[number]
                    yield number, result
            except BrokenProcessPool:
                killed.update(dead & left.keys() or left.keys())
                if ATTEMPTS in killed.values():
                    number = next(number for number, times in killed.items() if times == ATTEMPTS)
                    seeds = ", ".join(map(str, jobs[number].part.seeds))
                    raise UserError(
                        f"a worker process was killed {ATTEMPTS} times while it trained seed {seeds}, perhaps for want "
                        "of memory; what was completed is kept, and train.workers = 1 takes the least memory"
                    ) from None

    def _run(self, jobs: dict[int, Job[Result]], on_epoch: OnJobEpoch, dead: set[int]) -> Iterator[tuple[int, Result]]:
        """Run jobs by their numbers in new workers.

        Raises:
            BrokenProcessPool: A worker was killed; what had arrived by then is yielded first, and `dead` holds the jobs
                that it, and others like it, had begun.
        """
        reports: SimpleQueue[tuple[int, int | Epoch]] = self._context.SimpleQueue()
        start = partial(_start, self._shared, self._settings, reports)
        self._executor = ProcessPoolExecutor(min(self.count, len(jobs)), self._context, initializer=start)
        futures = {self._executor.submit(_work, number, job): number for number, job in jobs.items()}
        processes = multiprocessing.active_children()
        worker_of: dict[int, int] = {}  # process ids by job
        while futures:
            done, _ = wait(futures, POLL, FIRST_COMPLETED)
            while not reports.empty():
                number, report = reports.get()
                if isinstance(report, int):
                    worker_of[number] = report
                else:
                    on_epoch(number, report)
            broken = [future for future in done if isinstance(future.exception(), BrokenProcessPool)]
            for future in done.difference(broken):
                yield futures.pop(future), future.result()
            if broken:
                self._executor.shutdown()  # which has ended the others by SIGTERM
                ended = {process.pid for process in processes if process.exitcode == -signal.SIGTERM}
                dead.update(number for number, worker in worker_of.items() if worker not in ended)
                self._stop()
                raise BrokenProcessPool
        self._stop()

    def _stop(self) -> None:
        """End the workers, whatever they are doing."""
        if self._executor:
            for process in multiprocessing.active_children():
                process.kill()
            self._executor.shutdown(cancel_futures=True)
            self._executor = None


_split: Split  # of a worker process
_reports: "SimpleQueue[tuple[int, int | Epoch]]"


def _start(shared: _Shared, settings: Train, reports: "SimpleQueue[tuple[int, int | Epoch]]") -> None:
    """Prepare a worker process."""
    global _split, _reports
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    configure_device(settings.model_copy(update={"device": "cpu"}))
    parts = {id(pair): Examples(*map(_tensor, pair)) for pair in shared}
    _split = Split(*(parts[id(pair)] for pair in shared))
    _reports = reports


def _work(number: int, job: Job[Result]) -> Result:
    """Run a job in a worker process."""
    _reports.put((number, os.getpid()))
    return job.run(_split, lambda epoch: _reports.put((number, epoch)))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _share(split: Split, context: ForkServerContext) -> _Shared:
    """Copy the images into shared memory; where validation is on the test images, these are shared once."""
    pairs = {id(part): (_copy(part.images, context), _copy(part.labels, context)) for part in vars(split).values()}
    return [pairs[id(part)] for part in vars(split).values()]


def _copy(tensor: Tensor, context: ForkServerContext) -> tuple[Any, torch.Size, torch.dtype]:
    raw = context.RawArray("B", tensor.nbytes)
    torch.frombuffer(raw, dtype=tensor.dtype).view(tensor.shape).copy_(tensor)
    return raw, tensor.shape, tensor.dtype


def _tensor(shared: tuple[Any, torch.Size, torch.dtype]) -> Tensor:
    raw, shape, dtype = shared
    return torch.frombuffer(raw, dtype=dtype).view(shape)


def _length(job: Job[Any]) -> float:
    """Return about how long a job takes, in any unit: each network's steps have a constant cost and one by image."""
    part, train = job.part, job.part.train
    weights = sum(inputs * outputs for inputs, outputs in pairwise(widths(part.model)))
    return len(part.seeds) * train.epochs * weights * (1 + 100 / train.batch_size)


@contextlib.contextmanager
def _ignored(number: signal.Signals) -> Iterator[None]:
    handler = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, handler)
