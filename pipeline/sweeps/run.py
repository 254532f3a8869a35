"""The work of a sweep: what an earlier one has not trained yet is trained, and every outcome kept as it comes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pipeline.analysis import figures
from pipeline.data.dataset import Split
from pipeline.errors import UserError
from pipeline.files import to_csv, write_atomic
from pipeline.params import VARIANTS, Params
from pipeline.sweeps import outcome, panels
from pipeline.sweeps import report as sweep
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.plan import Task
from pipeline.sweeps.report import Report, Result
from pipeline.sweeps.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Advance = Callable[[int], object]  # is told how many epochs of members were finished since the last time
Trainer = Callable[[Sequence[Task], Split, Advance], Iterator[tuple[Task, Outcome]]]  # in any order


def train_locally(tasks: Sequence[Task], split: Split, advance: Advance) -> Iterator[tuple[Task, Outcome]]:
    """Train the tasks one after another in this process."""
    for task in tasks:
        yield task, outcome.run(task.population, split, task.probe, task.checkpoint(), advance)


def train_tasks(tasks: Sequence[Task], split: Split, train: Trainer = train_locally) -> Iterator[tuple[Task, Outcome]]:
    """Train what is not kept yet, keep every outcome, and yield each task with its outcome, kept ones first.

    Populations that are equal are trained once.
    """
    equal: dict[str, list[Task]] = {}
    for task in tasks:
        equal.setdefault(task.digest, []).append(task)
    kept = {digest: result for digest, (first, *_) in equal.items() if (result := first.load_outcome())}
    missing = [first for digest, (first, *_) in equal.items() if digest not in kept]
    if kept:
        print(f"resuming: {len(kept)} of {len(equal)} populations were trained before")
    for digest, result in kept.items():
        for task in equal[digest]:
            yield task, result
    before, after = (sum(equal[digest][0].epochs() for digest in digests) for digests in (kept, equal))
    with tqdm(total=after, initial=before, desc="sweep", unit="epoch", disable=None) as bar:
        for task, result in train(missing, split, bar.update):
            outcome.write(task.file, result)
            task.checkpoint().remove()
            for twin in equal[task.digest]:
                yield twin, result


def pair_up(tasks: Sequence[Task], outcomes: Mapping[str, Outcome]) -> list[Result]:
    """Return the result of every point, from the outcomes by their tasks' digest."""
    pairs = (tasks[at : at + len(VARIANTS)] for at in range(0, len(tasks), len(VARIANTS)))
    return [Result(pair[0].point, {task.variant: outcomes[task.digest] for task in pair}) for pair in pairs]


def write(results: Sequence[Result], params: Params, folder: Path, study: Study | None = None) -> list[Path]:
    """Write the table, answer and figures of a sweep and what a study found besides, and return the files."""
    if not results:
        raise UserError("the sweep has no results")
    found = study.findings(results, params) if study else None
    found = found or Report([], {"accuracy": _figure(results, params)})
    words = sweep.answer(results, params.evaluate, params.data.holdout)
    tables = {"table": sweep.table(results, params.evaluate), **found.tables}
    content: dict[str, str | bytes] = {
        "answer.md": "\n".join([*found.lines, words]),
        **{f"{name}.csv": to_csv(*table) for name, table in tables.items()},
        **{f"{name}.png": figures.png(figure) for name, figure in found.figures.items()},
    }
    for name, one in content.items():
        write_atomic(folder / name, one)
    return [folder / name for name in content]


def _figure(results: Sequence[Result], params: Params) -> "Figure":
    lines = {variant: [result.mean(variant, params.evaluate) for result in results] for variant in VARIANTS}
    where = "held-out" if params.data.holdout else "test"
    return panels.sweep([result.point.values for result in results], lines, f"{where} accuracy (%)")
