"""A job, which trains one part of a population, and what runs jobs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pipeline.data.dataset import Split
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.loop import Epoch, OnEpoch
from pipeline.training.population import Population

Result = TypeVar("Result")

OnJobEpoch = Callable[[int, Epoch], object]  # called with the number of a job and the epoch that it has completed


@dataclass(frozen=True)
class Job(ABC, Generic[Result]):
    """What one part's training needs besides the images, in plain values that can be sent to another process.

    Attributes:
        part: The networks, which are trained all at once.
        checkpoint: Where to save the state while training, and to continue from.
    """

    part: Population
    checkpoint: Path | None

    @abstractmethod
    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> Result:
        """Train the networks on the device of the images."""

    def open_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint, if there is a file for it."""
        return Checkpoint(self.checkpoint) if self.checkpoint else None


class Workers(Protocol):
    """What runs jobs, here or elsewhere.

    Attributes:
        count: How many jobs it runs at the same time.
        memory: The bytes of memory that bound a part, or None on the CPU, where caches do.
    """

    @property
    def count(self) -> int: ...  # noqa: D102

    @property
    def memory(self) -> int | None: ...  # noqa: D102

    def start(self) -> None:
        """Begin to start what runs jobs, and return at once."""

    def run(self, jobs: Sequence[Job[Result]], on_epoch: OnJobEpoch) -> Iterator[tuple[int, Result]]:
        """Run jobs, and yield each one's number and result as it arrives."""


class ThisProcess:
    """Runs jobs one after another in this process."""

    count = 1

    def __init__(self, split: Split, memory: int | None) -> None:
        self.memory = memory
        self._split = split

    def start(self) -> None:
        """Do nothing."""

    def run(self, jobs: Sequence[Job[Result]], on_epoch: OnJobEpoch) -> Iterator[tuple[int, Result]]:
        """Run jobs in their order, and yield each one's number and result."""
        for number, job in enumerate(jobs):
            yield number, job.run(self._split, partial(on_epoch, number))
