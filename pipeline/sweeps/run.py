"""Stage `sweep`: every point of a grid, both variants, all seeds; goes on where an earlier one stopped."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pipeline.analysis import figures
from pipeline.data import dataset as data
from pipeline.data import published
from pipeline.errors import UserError
from pipeline.files import to_csv, write_atomic
from pipeline.network.device import memory, prepare
from pipeline.params import VARIANTS, Model, Params, Variant
from pipeline.sweeps import outcome as populations
from pipeline.sweeps import panels
from pipeline.sweeps import report as sweep
from pipeline.sweeps.grid import Point
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.probe import Probe
from pipeline.sweeps.report import Report, Result
from pipeline.sweeps.study import Study
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.loop import fit
from pipeline.training.population import Population

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Task:
    """One population of a sweep, and the file that keeps its outcome."""

    point: Point
    variant: Variant
    population: Population
    probe: Probe | None
    digest: str
    file: Path

    def kept(self) -> Outcome | None:
        """Return the outcome that an earlier sweep has kept, if any."""
        return populations.read(self.file)

    def epochs(self) -> int:
        """Return how many epochs of members its training takes."""
        return len(self.population.seeds) * self.population.train.epochs

    def checkpoint(self) -> Checkpoint:
        """Return where its training is kept while it lasts."""
        return Checkpoint(self.file.with_suffix(".checkpoint"))


Advance = Callable[[int], object]  # is told how many epochs of members were finished since the last time
Trainer = Callable[[Sequence[Task], data.Split, Advance], Iterator[tuple[Task, Outcome]]]  # in any order


def plan(points: Sequence[Point], images: Path, folder: Path, probe: Probe | None = None) -> list[Task]:
    """List the populations of a sweep whose outcomes are kept in `folder`: for each point, one of each variant."""
    known = published.digest(images)
    tasks = []
    for point in points:
        for variant in VARIANTS:
            train = point.params.train
            population = Population(variant, _model(point.params, variant), train, train.seeds)
            digest = populations.digest(population, point.params.data.holdout, known, probe)
            tasks.append(Task(point, variant, population, probe, digest, folder / f"{digest}.safetensors"))
    return tasks


def _model(params: Params, variant: Variant) -> Model:
    """Return the network to train, equal where only the position of a Batch Normalization that is not there differs."""
    if variant == "plain" and not params.model.noise:
        return params.model.model_copy(update={"batchnorm_position": "after_activation"})
    return params.model


def read(params: Params, points: Sequence[Point], images: Path, device: str | None = None) -> data.Split:
    """Read the images onto `train.device` or another one, and check that every point can be trained on them.

    Raises:
        UserError: one cannot, or the images are missing or damaged.
    """
    split = data.load(images, params.data.holdout, prepare(device or params.train.device, params.train.threads))
    for point in points:
        data.check_batches(split, point.params.train.batch_size)
    return split


def estimate(tasks: Sequence[Task], split: data.Split) -> float:
    """Estimate the seconds that the tasks take, from a short training of the first seeds of each kind."""
    seconds: dict[tuple[object, ...], float] = {}
    total = 0.0
    for task in tasks:
        train = task.population.train
        kind = (task.variant, task.population.model, train.batch_size, train.optimizer)
        if kind not in seconds:
            few = data.Examples(split.train.images[:6000], split.train.labels[:6000])
            part = next(task.population.parts(memory(split.train.images.device)))
            start = time.perf_counter()
            fit(replace(part, train=train.model_copy(update={"epochs": 1})), few, lambda _: {})
            seconds[kind] = (time.perf_counter() - start) / len(part.seeds) / len(few)
        total += seconds[kind] * len(split.train) * task.epochs()
    return total


def here(tasks: Sequence[Task], split: data.Split, advance: Advance) -> Iterator[tuple[Task, Outcome]]:
    """Train the tasks one after another in this process."""
    for task in tasks:
        yield task, populations.run(task.population, split, task.probe, task.checkpoint(), advance)


def run(
    tasks: Sequence[Task], split: data.Split, keep: Callable[[Task, Outcome], None], train: Trainer = here
) -> list[Result]:
    """Train what is not kept yet, write every outcome as it comes, hand it to `keep`, and return the results in order.

    Populations that are equal are trained once.
    """
    equal: dict[str, list[Task]] = {}
    for task in tasks:
        equal.setdefault(task.digest, []).append(task)
    outcomes = {digest: outcome for digest, (first, *_) in equal.items() if (outcome := first.kept())}
    missing = [first for digest, (first, *_) in equal.items() if digest not in outcomes]
    if outcomes:
        print(f"going on: {len(outcomes)} of {len(equal)} populations were done before")
    for digest, outcome in outcomes.items():
        for task in equal[digest]:
            keep(task, outcome)
    before, after = (sum(equal[digest][0].epochs() for digest in some) for some in (outcomes, equal))
    with tqdm(total=after, initial=before, desc="sweep", unit="epoch", disable=None) as bar:
        for task, outcome in train(missing, split, bar.update):
            populations.write(task.file, outcome)
            task.checkpoint().remove()
            outcomes[task.digest] = outcome
            for twin in equal[task.digest]:
                keep(twin, outcome)
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
