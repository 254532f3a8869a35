"""The training of a sweep: populations without a stored outcome are trained, and outcomes stored as they arrive."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from tqdm import tqdm

from pipeline.data.dataset import Split
from pipeline.sweeps.outcome import Outcome, save_outcome, train_population
from pipeline.sweeps.plan import Task

Advance = Callable[[int], object]  # called with the number of epochs, summed over members, since the last call


class Trainer(Protocol):
    """A function that trains tasks, in this process or elsewhere."""

    def __call__(
        self, tasks: Sequence[Task], split: Split, advance: Advance | None = None
    ) -> Iterator[tuple[Task, Outcome]]:
        """Train the tasks, and yield each with its outcome, in any order."""


def train_locally(
    tasks: Sequence[Task], split: Split, advance: Advance | None = None
) -> Iterator[tuple[Task, Outcome]]:
    """Train the tasks one after another in this process, and yield each with its outcome."""
    for task in tasks:
        yield task, train_population(task.population, split, task.probe, task.checkpoint(), advance)


def train_tasks(tasks: Sequence[Task], split: Split, train: Trainer = train_locally) -> Iterator[tuple[Task, Outcome]]:
    """Train the tasks that have no stored outcome, and store theirs; equal populations are trained once.

    Args:
        tasks: The plan of the sweep.
        split: The images.
        train: The function that trains.

    Yields:
        Each task with its outcome, those with a stored outcome first.
    """
    equal: dict[str, list[Task]] = {}
    for task in tasks:
        equal.setdefault(task.digest, []).append(task)
    stored = {digest: outcome for digest, (first, *_) in equal.items() if (outcome := first.load_outcome())}
    missing = [first for digest, (first, *_) in equal.items() if digest not in stored]
    if stored:
        print(f"resuming: {len(stored)} of {len(equal)} populations were trained before")
    for digest, outcome in stored.items():
        for task in equal[digest]:
            yield task, outcome
    before, after = (sum(equal[digest][0].epochs() for digest in digests) for digests in (stored, equal))
    with tqdm(total=after, initial=before, desc="sweep", unit="epoch", disable=None) as bar:
        for task, outcome in train(missing, split, bar.update):
            save_outcome(task.file, outcome)
            task.checkpoint().remove()
            for twin in equal[task.digest]:
                yield twin, outcome
