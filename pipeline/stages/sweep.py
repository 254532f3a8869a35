"""Stage `sweep`: every point of a grid, both variants, all seeds; goes on where an earlier one stopped."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from pipeline import data, figures, files, outputs, populations, sources, sweep
from pipeline.errors import UserError
from pipeline.fit import Population, fit, prepare
from pipeline.grid import Point
from pipeline.params import VARIANTS, Params, Variant
from pipeline.populations import Outcome
from pipeline.sweep import Result


@dataclass(frozen=True)
class Task:
    """One population of a sweep, and the file that keeps its outcome."""

    point: Point
    variant: Variant
    population: Population
    digest: str
    file: Path

    def kept(self) -> Outcome | None:
        """Return the outcome that an earlier sweep has kept, if any."""
        return populations.read(self.file)


def plan(points: Sequence[Point], images: Path, folder: Path) -> list[Task]:
    """List the populations of a sweep whose outcomes are kept in `folder`: for each point, one of each variant."""
    known = sources.digest(images)
    tasks = []
    for point in points:
        for variant in VARIANTS:
            train = point.params.train
            population = Population(variant, point.params.model, train, train.seeds)
            digest = populations.digest(population, point.params.data.holdout, known)
            tasks.append(Task(point, variant, population, digest, folder / f"{digest}.safetensors"))
    return tasks


def read(params: Params, points: Sequence[Point], images: Path) -> data.Split:
    """Read the images, and check that every point can be trained on them.

    Raises:
        UserError: one cannot, or the images are missing or damaged.
    """
    split = data.load(images, params.data.holdout, prepare(params.train.device, params.train.threads))
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
            part = next(task.population.parts())
            start = time.perf_counter()
            fit(replace(part, train=train.model_copy(update={"epochs": 1})), few, lambda _: {})
            seconds[kind] = (time.perf_counter() - start) / len(part.seeds) / len(few)
        total += seconds[kind] * len(split.train) * train.epochs * len(task.population.seeds)
    return total


def run(tasks: Sequence[Task], split: data.Split, keep: Callable[[Task, Outcome], None]) -> Iterator[Result]:
    """Run what is not kept yet, hand every outcome to `keep`, and give the results point by point."""
    kept = [task.kept() for task in tasks]
    done = sum(outcome is not None for outcome in kept)
    if done:
        print(f"going on: {done} of {len(tasks)} populations were done before")
    outcomes: dict[Variant, Outcome] = {}
    with tqdm(total=len(tasks), initial=done, desc="sweep", unit="population", disable=None) as bar:
        for task, outcome in zip(tasks, kept, strict=True):
            if outcome is None:
                outcome = populations.run(task.population, split)
                populations.write(task.file, outcome)
                bar.update()
            keep(task, outcome)
            outcomes[task.variant] = outcome
            if len(outcomes) == len(VARIANTS):
                yield Result(task.point, dict(outcomes))
                outcomes.clear()


def write(results: Sequence[Result], params: Params, folder: Path) -> None:
    """Write the sweep's table, answer and figure into `folder`."""
    if not results:
        raise UserError("the sweep has no results")
    header, rows = sweep.table(results, params.evaluate)
    files.write(folder / "table.csv", outputs.as_csv(header, rows))
    files.write(folder / "answer.md", sweep.answer(results, params.evaluate, params.data.holdout))
    lines = {variant: [result.mean(variant, params.evaluate) for result in results] for variant in VARIANTS}
    where = "held-out" if params.data.holdout else "test"
    figure = figures.sweep([result.point.values for result in results], lines, f"{where} accuracy (%)")
    files.write(folder / "accuracy.png", figures.png(figure))
