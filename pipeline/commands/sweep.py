"""The command `sweep`."""

import contextlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pipeline import paths
from pipeline.commands.images import fetch_images, folder_of, read_images
from pipeline.commands.options import OVERRIDES, with_overrides
from pipeline.errors import UserError
from pipeline.files import write_folder
from pipeline.params import VARIANTS, Train, load
from pipeline.records.sweeps import Recorder, check
from pipeline.sweeps import grid, study
from pipeline.sweeps.plan import Task, estimate, load_split, plan
from pipeline.sweeps.run import Trainer, pair_up, train_locally, train_tasks, write
from pipeline.tracking import outbox
from pipeline.tracking.process import exclusive

WAIT = 15.0  # seconds for another process that works on the same sweep to end
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


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
@click.option("--dry-run", is_flag=True, help="Print the plan with an estimate of its seconds, and do nothing.")
@click.option("--yes", is_flag=True, help="Go ahead with more than 10,000 trainings.")
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
    settings = study.read(study_folder) if study_folder else None
    if settings:
        name, overrides = name or settings.name, {**settings.overrides, **overrides}
    given = [*grid_texts, *(grids or "").split()]
    spans = [grid.read([*texts, *given]) for texts in (settings.grids if settings else [()])]
    folder = paths.SWEEPS / (name or grid.name(spans[0], overrides))
    results = study_folder / "results" if study_folder else folder

    if ray is not None and not importlib.util.find_spec("ray"):
        raise UserError("--ray needs Ray: pip install -r requirements-ray.txt")
    params = load(paths.PARAMS, overrides)
    trainings = sum(map(grid.size, spans)) * len(VARIANTS) * len(params.train.seeds)
    if trainings > grid.LARGE and not yes:
        raise UserError(f"the grid has {trainings} trainings, more than {grid.LARGE}; give --yes if it is meant")
    points = grid.points(paths.PARAMS, overrides, *spans)
    if folder_of(params.data).is_dir():
        images = read_images(params.data)
    else:
        images = fetch_images(params.data, folder_of(params.data))
    split = load_split(params, points, images, device=None if ray is None else "cpu")
    tasks = plan(points, images, folder, settings.probe if settings else None)
    left = {task.digest: task for task in tasks if task.load_outcome() is None}  # some populations may be equal
    with contextlib.ExitStack() as stack:
        with _trainer(ray if left else None, params.train) as (train, at_once):
            print(
                f"{folder.name}: {len(points)} points, {_populations(tasks)}, {len(left)} still to train"
                + (f", {at_once} at the same time" if ray and left else "")
                + (f", about {estimate([*left.values()], split) / at_once:.0f} seconds" if dry_run else "")
            )
            if not params.data.holdout:
                print("data.holdout is 0: accuracies are the test images', so no best point is chosen")
            if dry_run:
                return
            check(folder.name)
            outbox.send()
            stack.enter_context(exclusive(folder, WAIT, f"{folder.name}: this sweep is under way in another process"))
            recorder = Recorder(folder.name)
            outcomes = {}
            for task, outcome in train_tasks(tasks, split, train):
                outcomes[task.digest] = outcome
                recorder.log(task, outcome)
        with write_folder(results) as part:
            written = write(pair_up(tasks, outcomes), params, part, settings)
        print((results / "answer.md").read_text(encoding="utf-8"))
        recorder.finish(points, [results / path.name for path in written])


def _populations(tasks: Sequence[Task]) -> str:
    seeds = len(tasks[0].population.seeds)
    return f"{len({task.digest for task in tasks})} populations of {seeds} seed{'s' * (seeds > 1)}"


@contextlib.contextmanager
def _trainer(address: str | None, settings: Train) -> Iterator[tuple[Trainer, int]]:
    """Give what trains tasks, in this process or on a Ray cluster, and how many of them at once."""
    if address is None:
        yield train_locally, 1
        return
    from pipeline.sweeps import ray_cluster  # Ray is an extra

    with ray_cluster.connect(address, settings) as cluster:
        yield cluster.train, cluster.count
