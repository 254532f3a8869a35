"""The training of a sweep: members without a stored outcome are trained, and outcomes stored as they arrive."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.data.dataset import Split
from pipeline.errors import UserError
from pipeline.parts import checkpoint_file, cut
from pipeline.progress import Progress
from pipeline.sweeps.outcome import Outcome, OutcomeJob, save_outcome
from pipeline.sweeps.plan import Task
from pipeline.sweeps.probe import Probe
from pipeline.training.job import Job, Workers
from pipeline.training.loop import OnEpoch

UNKNOWN = math.nan  # the seconds of networks that another command has trained, or begun


@dataclass(frozen=True)
class TimedJob(Job[tuple[Outcome, float]]):
    """The training and test of one part of a population, and the seconds that it took.

    Attributes:
        probe: The study's probe, if any.
    """

    probe: Probe | None = None

    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> tuple[Outcome, float]:
        """Train and test the networks; the seconds are `UNKNOWN` where an earlier training goes on."""
        goes_on = self.checkpoint is not None and self.checkpoint.exists()
        start = time.perf_counter()
        outcome = OutcomeJob(self.part, self.checkpoint, self.probe).run(split, on_epoch)
        return outcome, UNKNOWN if goes_on else time.perf_counter() - start


def train_tasks(tasks: Sequence[Task], workers: Workers) -> Iterator[tuple[Task, Outcome, float]]:
    """Train the members that have no stored outcome, and store theirs; equal populations are trained once.

    Args:
        tasks: The plan of the sweep.
        workers: What trains.

    Yields:
        Each task with the outcome of all its members, those whose outcomes are stored first, and the seconds that
        its parts took, added up: `UNKNOWN` unless all were trained now, from their beginning.
    """
    equal: dict[str, list[Task]] = {}
    for task in tasks:
        equal.setdefault(task.digest, []).append(task)
    missing: list[Task] = []
    for first, *twins in equal.values():
        if outcome := first.load_outcome():
            for task in (first, *twins):
                yield task, outcome, UNKNOWN
        else:
            missing.append(first)
    if len(missing) < len(equal):
        every = sum(len(first.population.seeds) for first, *_ in equal.values())
        rest = sum(len(first.population.seeds) for first in missing)
        print(f"resuming: {every - rest} of {every} networks were trained before")
    for task, seconds in _train(missing, workers, sum(first.population.epochs() for first, *_ in equal.values())):
        outcome = task.load_outcome()
        if not outcome:
            raise UserError(f"{task.folder}: outcomes that were just stored are missing; run the same command again")
        for twin in equal[task.digest]:
            yield twin, outcome, seconds


def _train(tasks: Sequence[Task], workers: Workers, epochs: int) -> Iterator[tuple[Task, float]]:
    """Train what the tasks lack in parts, all in one queue; yield each task and its seconds when all is stored."""
    jobs: list[TimedJob] = []
    owners: list[Task] = []
    seconds: dict[str, float] = {}
    for task in tasks:
        rest = task.rest() or task.population
        seconds[task.digest] = 0.0 if rest.seeds == task.population.seeds else UNKNOWN
        for part in cut(rest, -(-workers.count // len(tasks)), workers.memory, task.folder):
            jobs.append(TimedJob(part, checkpoint_file(task.folder, part), task.probe))
            owners.append(task)
    parts_left = Counter(task.digest for task in owners)
    before = epochs - sum(job.part.epochs() for job in jobs)
    with Progress("sweep", epochs, before) as progress:
        for number, (outcome, took) in workers.run(jobs, progress):
            job, task = jobs[number], owners[number]
            progress.finish(number, job.part)
            save_outcome(task.folder, job.part.seeds, outcome)
            if job.checkpoint:
                job.checkpoint.unlink(missing_ok=True)
            seconds[task.digest] += took
            parts_left[task.digest] -= 1
            if not parts_left[task.digest]:
                yield task, seconds[task.digest]
