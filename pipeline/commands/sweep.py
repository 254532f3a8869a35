"""The command `sweep`."""

import contextlib
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import click

from pipeline import paths
from pipeline.commands.folders import hold
from pipeline.commands.images import load_or_fetch_images
from pipeline.commands.options import OVERRIDES, flag, with_overrides
from pipeline.commands.pages import sweep_link
from pipeline.data.dataset import Split
from pipeline.errors import UserError
from pipeline.files import write_folder
from pipeline.params import Data, ParamsFile, Train, load
from pipeline.sweeps.best_of_k import check_best_of_k
from pipeline.sweeps.grid import (
    LARGE,
    Grid,
    check_images,
    count_groups,
    count_points,
    list_points,
    parse_grid,
    sweep_name,
)
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.output import remove_stale, write_results
from pipeline.sweeps.plan import Task, claim_name, estimate, load_splits, plan, without_pixels
from pipeline.sweeps.run import train_tasks
from pipeline.sweeps.search import MOST, Extension, Search, point_maker
from pipeline.sweeps.seeds import parse_seeds
from pipeline.sweeps.study import Study, load_study, parse_variants
from pipeline.sweeps.terminal import list_populations, networks, plan_words, result_words
from pipeline.tracking.process import exclusive
from pipeline.training.job import Workers
from pipeline.workers import open_workers

WAIT = 15.0  # seconds for another process that works on the same sweep to end
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
BETWEEN_KEYS = re.compile(r"\s+(?=[^\s=\[\](),]+=)")  # lists and ranges may have spaces


@click.command(context_settings=OVERRIDES)
@click.option("--grid", "grid_texts", multiple=True, metavar="KEY=VALUES", help="A key to vary; may be given again.")
@click.option("--grids", metavar="TEXT", help="Several KEY=VALUES with spaces between them, for `mlflow run`.")
@click.option(
    "--study",
    "study_folder",
    type=click.Path(path_type=Path),
    help="A folder whose params.yaml holds `grid` and `set`.",
)
@click.option("--variants", metavar="NAMES", help="What to compare, first the control; by default plain,batchnorm.")
@click.option(
    "--refine",
    type=click.IntRange(0, MOST),
    metavar="N",
    help="Add points around the best ones, in at most N rounds, until each has two worse neighbours.",
)
@click.option(
    "--confirm",
    metavar="SEEDS",
    help="Train the best points with other seeds, such as 100-129, and test only these.",
)
@click.option("--name", help="The sweep's name in MLflow and below sweeps/; by default made from its grid.")
@click.option("--ray", metavar="ADDRESS", help="Train on a Ray cluster: auto, ray://HOST:PORT, HOST:PORT or local.")
@flag("--dry-run", "Print the plan with an estimate of its time, and do nothing.")
@flag("--yes", "Go ahead with more than 10,000 trainings.")
@with_overrides
def sweep(
    grid_texts: tuple[str, ...],
    grids: str | None,
    study_folder: Path | None,
    variants: str | None,
    refine: int | None,
    confirm: str | None,
    name: str | None,
    ray: str | None,
    dry_run: bool,
    yes: bool,
    overrides: dict[str, str],
) -> None:
    """Train all variants, all seeds, at every point of a grid. The same command again resumes where it stopped.

    \b
    python -m pipeline sweep --grid train.lr=0.001,0.01,0.1 --grid train.batch_size=60,2000
    python -m pipeline sweep --grid "train.lr=log(1e-4,1,9)" --data.holdout 10000
    python -m pipeline sweep --grid "train.lr=log(1e-4,1,9)" --data.holdout 10000 --refine 4 --confirm 100-129
    python -m pipeline sweep --variants plain,batchnorm,layernorm --grid train.lr=0.001,0.01 --data.holdout 10000
    python -m pipeline sweep --study studies/learning_rate --dry-run
    python -m pipeline sweep --study studies/learning_rate --ray auto
    """
    if name and not NAME.fullmatch(name):
        raise UserError(f"name = {name}: should be at most 100 letters, digits, '-' and '_'")
    if ray is not None and not importlib.util.find_spec("ray"):
        raise UserError("--ray needs Ray: pip install -r requirements-ray.txt")
    study = load_study(study_folder) if study_folder else Study("", ((),), {})
    name, overrides = name or study.name, {**study.overrides, **overrides}
    given = [*grid_texts, *(BETWEEN_KEYS.split(grids.strip()) if grids else [])]
    spans = [parse_grid([*texts, *given]) for texts in study.grids]
    if not spans:
        raise UserError(f"{study_folder}/params.yaml: grid is empty; give it a key, such as train.lr: [0.01, 0.1]")
    params = load(paths.PARAMS, overrides)
    seeds = study.confirm if confirm is None else confirm
    extension = Extension(study.refine if refine is None else refine, parse_seeds("confirm", seeds) if seeds else ())
    compared = parse_variants("variants", [*map(str.strip, variants.split(","))]) if variants else study.variants
    if study.report and compared != study.variants:
        raise UserError(f"variants: the report of {study_folder} is about {', '.join(study.variants)}")
    _check_count(spans, len(compared), len(params.train.seeds), len(extension.seeds), yes)
    points = list_points(paths.PARAMS, overrides, *spans)
    check_images(points, params.data.holdout)
    extension.check(params, points)
    if study.best_of_k:
        check_best_of_k(points, params.data.holdout)
    images = {data: load_or_fetch_images(data) for data in dict.fromkeys(point.params.data for point in points)}
    splits = load_splits(params, points, images, device=None if ray is None else "cpu")
    search = Search(
        points,
        partial(plan, variants=compared, images=images, folder=paths.OUTCOMES, probe=study.probe),
        point_maker(ParamsFile(paths.PARAMS), overrides, {data: without_pixels(one) for data, one in splits.items()}),
        extension,
        study.choose,
    )
    search.skip_stored()
    # Tasks of equal populations share one.
    rests = {task.digest: rest for task in search.tasks if (rest := task.rest())}
    folder = paths.SWEEPS / (name or sweep_name(points, compared))
    results = study_folder / "results" if study_folder else folder
    epochs = sum(rest.epochs() for rest in rests.values()) + search.epochs_ahead()
    with _open_workers(ray if rests else None, params.train, splits, epochs) as workers:
        count = next(iter(workers.values())).count
        seconds = None
        if dry_run:
            first = {task.digest: task for task in search.tasks if task.digest in rests}
            by_images = _by_images([*first.values()])
            seconds = sum(
                estimate([rests[task.digest] for task in tasks], splits[data], count)
                for data, tasks in by_images.items()
            )
        print(plan_words(folder.name, search.points, search.tasks, rests.values(), count, seconds))
        if ahead := search.ahead():
            print(f"then {', and '.join(ahead)}")
        if not params.data.holdout:
            print("data.holdout is 0: accuracies are the test images', so no best point is chosen")
        if dry_run:
            return
        splits.clear()  # the workers have the images
        for each in workers.values():
            each.start()
        from pipeline.records.sweeps import Recorder, check  # imports MLflow, while workers start
        from pipeline.tracking import outbox

        check(folder.name)
        outbox.send()
        with exclusive(folder, WAIT, f"{folder.name}: this sweep is under way in another process"):
            claim_name(folder, points, extension.rounds, extension.seeds, compared)
            recorder = Recorder(folder.name, images)
            outcomes: dict[str, Outcome] = {}
            new = search.tasks
            while new:
                for data, tasks in _by_images(new).items():
                    for task, outcome, seconds in train_tasks(tasks, workers[data]):
                        outcomes[task.digest] = outcome
                        recorder.log(task, outcome, seconds)
                if new := search.advance(outcomes):
                    added = networks(list_populations(new))
                    print(f"{'confirming the best points' if new[0].confirms else 'refining'}: {added}")
            found = search.results(outcomes)
            with hold(results) if study_folder else contextlib.nullcontext():  # which a sweep of another name writes
                with write_folder(results) as part:
                    written = write_results(found, params, part, study)
                remove_stale(results, written)
                answer = (results / "answer.md").read_text(encoding="utf-8")
                print(result_words(found, params, answer, results))
                recorder.finish(found, params, [results / path.name for path in written])
            print(f"In MLflow (`mlflow ui`): {sweep_link(folder.name)}")


def _by_images(tasks: Sequence[Task]) -> dict[Data, list[Task]]:
    """Group tasks by the section that names their images."""
    grouped: dict[Data, list[Task]] = {}
    for task in tasks:
        grouped.setdefault(task.point.params.data, []).append(task)
    return grouped


def _check_count(grids: Sequence[Grid], variants: int, seeds: int, confirming: int, yes: bool) -> None:
    """Check that the trainings of some grids are few, or meant: those with the seeds that choose and that confirm."""
    trainings = variants * sum(seeds * count_points(grid) + confirming * count_groups(grid) for grid in grids)
    if trainings > LARGE and not yes:
        raise UserError(f"the grid has {trainings} trainings, more than {LARGE}; give --yes if it is meant")


@contextlib.contextmanager
def _open_workers(
    address: str | None, settings: Train, splits: Mapping[Data, Split], model_epochs: int
) -> Iterator[Mapping[Data, Workers]]:
    """Open what trains, for the images of every section `data`: this machine or a Ray cluster."""
    if address is None:
        with contextlib.ExitStack() as stack:
            yield {
                data: stack.enter_context(open_workers(settings, split, model_epochs)) for data, split in splits.items()
            }
        return
    from pipeline.sweeps import ray_cluster  # Ray is an extra

    with ray_cluster.connect(address, settings, splits) as clusters:
        yield clusters
