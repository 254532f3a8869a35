"""The progress of trainings on the standard error: one line that stays up to date, or a new one every ten seconds."""

import contextlib
import os
import sys
import threading
import time
from statistics import fmean
from typing import Self, TextIO

from pipeline.analysis.wording import duration, seed_words
from pipeline.training.loop import Epoch
from pipeline.training.population import Population

REDRAW = 0.5  # seconds between two states of the line in a terminal
REPORT = 10.0  # seconds between two lines where there is no terminal
BAR = 10  # characters
COLUMNS = 80  # of a terminal that does not know its width, such as that of `script` without another terminal
CLEAR_REST = "\x1b[K"  # of the line


class Progress:
    """Shows how much of some jobs is completed, in epochs of their networks, and about how long the rest takes.

    Call it with the number of a job and an epoch that the job has completed. A thread writes, so that time passes
    visibly during an epoch.
    """

    def __init__(self, label: str, total: int, before: int = 0, stream: TextIO | None = None) -> None:
        """Prepare what is shown within the context.

        Args:
            label: What is trained.
            total: The number of epochs, summed over networks.
            before: How many of them were completed before.
            stream: Where to write; by default to the standard error.
        """
        self._label = label
        self._total = total
        self._before = before
        self._stream = stream or sys.stderr
        self._completed: dict[int, int] = {}  # epochs by job, summed over its networks
        self._latest = ""
        self._start = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def __call__(self, number: int, epoch: Epoch) -> None:
        """Note an epoch that a job has completed."""
        self._completed[number] = epoch.number * len(epoch.seeds)
        self._latest = f"; {_describe(epoch)}"

    def finish(self, number: int, part: Population) -> None:
        """Note the end of a job, whose last epochs may not have been reported."""
        self._completed[number] = part.epochs()

    @property
    def completed(self) -> int:
        """The number of completed epochs, summed over networks."""
        return self._before + sum(self._completed.copy().values())

    def describe(self, seconds: float, bar: int = 0) -> str:
        """Return the state after some seconds of training.

        Args:
            seconds: The time since the start.
            bar: The length of a bar to show, in characters.
        """
        completed = self.completed
        here, rest = completed - self._before, self._total - completed
        filled = bar * completed // max(1, self._total)
        left = f", about {duration(seconds * rest / here)} left" if here and rest else ""
        return (
            f"{self._label}{' ' * bool(bar)}{'#' * filled}{'.' * (bar - filled)}: "
            f"{completed} of {self._total} epochs, {duration(seconds)}{left}{self._latest}"
        )

    def _show(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            if self._stream.isatty():
                self._keep_up_to_date()
            else:
                self._report()

    def _keep_up_to_date(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.is_set()
            line = self.describe(time.monotonic() - self._start, BAR)[: _columns(self._stream) - 1]
            print(f"\r{line}{CLEAR_REST}", end="\n" * ended, file=self._stream, flush=True)
            self._ended.wait(REDRAW)

    def _report(self) -> None:
        while not self._ended.wait(REPORT):
            print(self.describe(time.monotonic() - self._start), file=self._stream, flush=True)


def _describe(epoch: Epoch) -> str:
    return f"{seed_words(epoch.seeds)}: epoch {epoch.number}, training loss {fmean(epoch.train_loss):.3f}"


def _columns(stream: TextIO) -> int:
    return os.get_terminal_size(stream.fileno()).columns or COLUMNS
