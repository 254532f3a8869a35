"""The progress bar of some jobs, in epochs of their networks."""

from collections.abc import Sequence
from typing import Any, Self

from tqdm import tqdm

from pipeline.training.job import Job
from pipeline.training.loop import Epoch


class Progress:
    """A bar that grows by what the jobs report; called with the number of a job and an epoch that it has completed."""

    def __init__(self, jobs: Sequence[Job[Any]], label: str, before: int = 0) -> None:
        """Show the bar.

        Args:
            jobs: The jobs, whose numbers are their places.
            label: What is written before the bar.
            before: The number of epochs that were completed before.
        """
        self._members = [len(job.part.seeds) for job in jobs]
        self._epochs = [job.part.train.epochs for job in jobs]
        self._completed = [0] * len(jobs)
        total = before + sum(job.part.epochs() for job in jobs)
        self._bar = tqdm(total=total, initial=before, desc=label, unit="epoch", disable=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, number: int, epoch: Epoch) -> None:
        """Show an epoch of a job."""
        self._show(number, epoch.number)

    def finish(self, number: int) -> None:
        """Show the end of a job."""
        self._show(number, self._epochs[number])

    def _show(self, number: int, completed: int) -> None:
        self._bar.update((completed - self._completed[number]) * self._members[number])
        self._completed[number] = completed
