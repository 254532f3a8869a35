"""The command `sweep`."""

import contextlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pipeline import paths
from pipeline.commands.images import load_or_fetch_images
from pipeline.commands.options import OVERRIDES, flag, with_overrides
from pipeline.data.dataset import Split
from pipeline.errors import UserError
from pipeline.files import write_folder
from pipeline.params import VARIANTS, Train, load
from pipeline.sweeps.grid import LARGE, count_points, list_points, parse_grid, sweep_name
from pipeline.sweeps.output import pair_up, write_results
from pipeline.sweeps.plan import Task, claim_name, estimate, load_split, plan
from pipeline.sweeps.run import train_tasks
from pipeline.sweeps.study import load_study
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
@click.option("--name", help="The sweep's name in MLflow and below sweeps/; by default made from its grid.")
@click.option("--ray", metavar="ADDRESS", help="Train on a Ray cluster: auto, ray://HOST:PORT, HOST:PORT or local.")
@flag("--dry-run", "Print the plan with an estimate of its seconds, and do nothing.")
@flag("--yes", "Go ahead with more than 10,000 trainings.")
@with_overrides
def sweep(
    grid_texts: tuple[str, ...],
    grids: str | None,
    study_folder: Path | None,
    name: str | None,
    ray: str | None,
    dry_run: bool,
    yes: bool,
    overrides: dict[str, str],
) -> None:
    """Train both variants, all seeds, at every point of a grid. The same command again resumes where it stopped.

    \b
    python -m pipeline sweep --grid train.lr=0.001,0.01,0.1 --grid train.batch_size=60,2000
    python -m pipeline sweep --grid "train.lr=log(1e-4,1,9)" --data.holdout 10000
    python -m pipeline sweep --study studies/learning_rate --dry-run
    python -m pipeline sweep --study studies/learning_rate --ray auto
    """
    if name and not NAME.fullmatch(name):
        raise UserError(f"name = {name}: should be at most 100 letters, digits, '-' and '_'")
    if ray is not None and not importlib.util.find_spec("ray"):
        raise UserError("--ray needs Ray: pip install -r requirements-ray.txt")
    study = load_study(study_folder) if study_folder else None
    if study:
        name, overrides = name or study.name, {**study.overrides, **overrides}
    given = [*grid_texts, *(BETWEEN_KEYS.split(grids.strip()) if grids else [])]
    spans = [parse_grid([*texts, *given]) for texts in (study.grids if study else [()])]
    params = load(paths.PARAMS, overrides)
    _confirm(sum(map(count_points, spans)) * len(VARIANTS) * len(params.train.seeds), yes)
    points = list_points(paths.PARAMS, overrides, *spans)
    images = load_or_fetch_images(params.data)
    tasks = plan(points, images, paths.OUTCOMES, study.probe if study else None)
    rests = {task.digest: rest for task in tasks if (rest := task.rest())}  # tasks of equal populations share one
    folder = paths.SWEEPS / (name or sweep_name(points))
    results = study_folder / "results" if study_folder else folder
    split = load_split(params, points, images, device=None if ray is None else "cpu")
    with _open_workers(
        ray if rests else None, params.train, split, sum(rest.epochs() for rest in rests.values())
    ) as workers:
        print(
            f"{folder.name}: {len(points)} points, {_populations(tasks)}, {len(rests)} still to train"
            + (f", {workers.count} at the same time" if rests and (ray or workers.count > 1) else "")
            + (f", about {estimate([*rests.values()], split, workers.count):.0f} seconds" if dry_run else "")
        )
        if not params.data.holdout:
            print("data.holdout is 0: accuracies are the test images', so no best point is chosen")
        if dry_run:
            return
        del split
        workers.start()
        from pipeline.records.sweeps import Recorder, check  # imports MLflow, while workers start
        from pipeline.tracking import outbox

        check(folder.name)
        outbox.send()
        with exclusive(folder, WAIT, f"{folder.name}: this sweep is under way in another process"):
            claim_name(folder, points)
            recorder = Recorder(folder.name, images)
            outcomes = {}
            for task, outcome in train_tasks(tasks, workers):
                outcomes[task.digest] = outcome
                recorder.log(task, outcome)
            with write_folder(results) as part:
                written = write_results(pair_up(tasks, outcomes), params, part, study)
            print((results / "answer.md").read_text(encoding="utf-8"))
            recorder.finish(points, [results / path.name for path in written])


def _confirm(trainings: int, yes: bool) -> None:
    if trainings > LARGE and not yes:
        raise UserError(f"the grid has {trainings} trainings, more than {LARGE}; give --yes if it is meant")


def _populations(tasks: Sequence[Task]) -> str:
    seeds = len(tasks[0].population.seeds)
    return f"{len({task.digest for task in tasks})} populations of {seeds} seed{'s' * (seeds > 1)}"


@contextlib.contextmanager
def _open_workers(address: str | None, settings: Train, split: Split, model_epochs: int) -> Iterator[Workers]:
    """Open what trains: this machine or a Ray cluster."""
    if address is None:
        with open_workers(settings, split, model_epochs) as workers:
            del split  # the workers have the images
            yield workers
        return
    from pipeline.sweeps import ray_cluster  # Ray is an extra

    with ray_cluster.connect(address, settings, split) as cluster:
        yield cluster
