"""The training of a sweep: members without a stored outcome are trained, and outcomes stored as they arrive."""

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.errors import UserError
from pipeline.progress import Progress
from pipeline.sweeps.outcome import Outcome, OutcomeJob, outcome_file, save_outcome
from pipeline.sweeps.plan import Task
from pipeline.training.job import Workers


def train_tasks(tasks: Sequence[Task], workers: Workers) -> Iterator[tuple[Task, Outcome]]:
    """Train the members that have no stored outcome, and store theirs; equal populations are trained once.

    Args:
        tasks: The plan of the sweep.
        workers: What trains.

    Yields:
        Each task with the outcome of all its members, those whose outcomes are stored first.
    """
    equal: dict[str, list[Task]] = {}
    for task in tasks:
        equal.setdefault(task.digest, []).append(task)
    missing: list[Task] = []
    for first, *twins in equal.values():
        if outcome := first.load_outcome():
            for task in (first, *twins):
                yield task, outcome
        else:
            missing.append(first)
    if len(missing) < len(equal):
        every = sum(len(first.population.seeds) for first, *_ in equal.values())
        rest = sum(len(first.population.seeds) for first in missing)
        print(f"resuming: {every - rest} of {every} networks were trained before")
    for task in _train(missing, workers, sum(first.population.epochs() for first, *_ in equal.values())):
        outcome = task.load_outcome()
        if not outcome:
            raise UserError(f"{task.folder}: outcomes that were just stored are missing; run the same command again")
        for twin in equal[task.digest]:
            yield twin, outcome


def _train(tasks: Sequence[Task], workers: Workers, epochs: int) -> Iterator[Task]:
    """Train what the tasks lack in parts, all in one queue, and yield each task when all of its parts are stored."""
    jobs: list[OutcomeJob] = []
    owners: list[Task] = []
    for task in tasks:
        rest = task.rest() or task.population
        for part in rest.parts(-(-workers.count // len(tasks)), workers.memory):
            file = outcome_file(task.folder, part.seeds)
            jobs.append(OutcomeJob(part, file.with_suffix(".checkpoint"), task.probe))
            owners.append(task)
    parts_left = Counter(task.digest for task in owners)
    before = epochs - sum(job.part.epochs() for job in jobs)
    with Progress("sweep", epochs, before) as progress:
        for number, outcome in workers.run(jobs, progress):
            job, task = jobs[number], owners[number]
            progress.finish(number, job.part)
            save_outcome(task.folder, job.part.seeds, outcome)
            if job.checkpoint:
                job.checkpoint.unlink(missing_ok=True)
            parts_left[task.digest] -= 1
            if not parts_left[task.digest]:
                yield task
