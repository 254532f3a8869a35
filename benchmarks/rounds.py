"""Measurements taken in turns, so that other load on the machine affects all of them alike."""

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.settings import Kind
from pipeline.errors import UserError
from pipeline.params import Variant

COMPARED: tuple[Literal["lab", "project", "products"], ...] = ("lab", "project", "products")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Spread:
    """The median, minimum and maximum of some values."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise values."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Comparison:
    """Seconds per epoch of one network at one batch size, a value for each round."""

    variant: Variant
    batch: int
    lab: list[float]
    project: list[float]
    products: list[float]

    def gain(self) -> Spread:
        """Return how many times faster this project is than the lab, round by round."""
        return Spread.of([lab / own for lab, own in zip(self.lab, self.project, strict=True)])

    def loss(self) -> Spread:
        """Return how many times longer this project takes than its matrix products alone, round by round."""
        return Spread.of([own / bare for own, bare in zip(self.project, self.products, strict=True)])


def compare(variant: Variant, batch: int, rounds: int, progress: Progress) -> Comparison:
    """Measure the lab, this project and the bare products in turns."""
    seconds: dict[str, list[float]] = {kind: [] for kind in COMPARED}
    with contextlib.ExitStack() as stack:
        workers = {kind: stack.enter_context(worker(kind, variant, batch)) for kind in COMPARED}
        for number in range(1, rounds + 1):
            for kind, measure in workers.items():
                seconds[kind].append(measure())
            latest = ", ".join(f"{kind} {values[-1]:.3f} s" for kind, values in seconds.items())
            progress(f"batch {batch}, {variant}, round {number} of {rounds}: {latest} per epoch")
    return Comparison(variant, batch, **seconds)


@contextlib.contextmanager
def worker(kind: Kind, variant: Variant, batch: int) -> Iterator[Callable[[], float]]:
    """Start a worker, and stop it on leaving the context.

    Args:
        kind: What it measures.
        variant: The network.
        batch: The batch size.

    Yields:
        A function that makes the worker measure once, and returns the seconds.

    Raises:
        UserError: The worker has died.
    """
    command = [sys.executable, "-m", "benchmarks.worker", kind, variant, str(batch)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert answers is not None

        def measure() -> float:
            with contextlib.suppress(BrokenPipeError):
                requests.write("\n")
                requests.flush()
            answer = answers.readline()
            if not answer:
                raise UserError(f"`{' '.join(command[1:])}` stopped without an answer")
            return float(answer)

        try:
            yield measure
        finally:
            with contextlib.suppress(BrokenPipeError):
                requests.close()
