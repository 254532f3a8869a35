"""The command line: one command per stage. Errors that the user can mend become one line and exit code 2."""

import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pipeline import layout
from pipeline.errors import UserError
from pipeline.params import VARIANTS, Params, Variant, load

# Stages and trackers are imported by the command that needs them: PyTorch and MLflow take seconds.
if TYPE_CHECKING:
    from pipeline.grid import Point
    from pipeline.records import Record

NAME = re.compile(r"[A-Za-z0-9_-]+")
OVERRIDES: dict[str, Any] = {"ignore_unknown_options": True}


class _Failure(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise _Failure(str(error)) from None
        except KeyboardInterrupt:
            click.echo(
                "Interrupted. The same command again goes on or starts anew; nothing is left half done.", err=True
            )
            sys.exit(128 + signal.SIGINT)


def _overrides(_: click.Context, __: click.Parameter, tokens: tuple[str, ...]) -> dict[str, str]:
    """Read `--train.lr 0.01 --epochs=2` as names and values."""
    found: dict[str, str] = {}
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        name, equals, value = token.partition("=")
        if not name.startswith("--"):
            raise UserError(f"{token}: expected --NAME VALUE, where NAME is a parameter of params.yaml")
        if not equals:
            if not rest:
                raise UserError(f"{name}: its value is missing")
            value = rest.pop(0)
        found[name.removeprefix("--")] = value
    return found


def _with_overrides(command: Callable[..., None]) -> Callable[..., None]:
    return click.argument(
        "overrides", nargs=-1, type=click.UNPROCESSED, callback=_overrides, metavar="[--NAME VALUE]..."
    )(command)


@click.group(cls=_Commands)
def main() -> None:
    """What Batch Normalization changes when a small network learns MNIST.

    Usually called by DVC (`dvc repro`) and by MLflow (`mlflow run . -P batchnorm=false`). Settings come from
    params.yaml; any of them can be given as --NAME VALUE, by its dotted name or by its last part.
    """
    signal.signal(signal.SIGTERM, _stop)


@main.command(context_settings=OVERRIDES)
@_with_overrides
def download(overrides: dict[str, str]) -> None:
    """Fetch and verify the images.

    \b
    python -m pipeline download
    python -m pipeline download --dataset kmnist
    """
    params = load(layout.PARAMS, overrides)
    images = _images(params)
    from pipeline import records
    from pipeline.stages.download import download as fetch

    def work() -> None:
        click.echo(f"{params.data.dataset}: {fetch(params.data, images)}")

    _tracked(records.download(params, images), work)


@main.command(context_settings=OVERRIDES)
@click.argument("variant", type=click.Choice(VARIANTS))
@_with_overrides
def train(variant: Variant, overrides: dict[str, str]) -> None:
    """Train every seed of one variant, into runs/VARIANT.

    \b
    python -m pipeline train batchnorm
    python -m pipeline train plain --lr 0.01 --seeds 0,1
    """
    params = load(layout.PARAMS, overrides)
    _train(params, variant, _images(params), layout.RUNS / variant)


@main.command(context_settings=OVERRIDES)
@click.option("--scratch", is_flag=True, help="Leave results/ alone: the results go to MLflow only.")
@_with_overrides
def evaluate(scratch: bool, overrides: dict[str, str]) -> None:
    """Compare the two variants in runs/, into results/.

    \b
    python -m pipeline evaluate
    python -m pipeline evaluate --scratch --confidence 0.99
    """
    params = load(layout.PARAMS, overrides)
    images = _images(params)
    from pipeline.stages.evaluate import evaluate as compare
    from pipeline.stages.evaluate import read

    trained = read(params, images, layout.RUNS)
    from pipeline import records

    with _scratch() if scratch else contextlib.nullcontext(layout.RESULTS) as folder:
        _tracked(records.evaluate(params, images, folder), lambda: compare(params, trained, folder))


@main.command(context_settings=OVERRIDES)
@click.option("--batchnorm", required=True, metavar="true|false", help="Whether the network has Batch Normalization.")
@_with_overrides
def run(batchnorm: str, overrides: dict[str, str]) -> None:
    """Train one variant for MLflow alone, fetching the images if they are missing. DVC's outputs stay as they are.

    \b
    python -m pipeline run --batchnorm false
    python -m pipeline run --batchnorm true --train.lr 0.01 --epochs 2 --seeds 0,1
    """
    if batchnorm.lower() not in ("true", "false"):
        raise UserError(f"batchnorm = {batchnorm}: should be true or false")
    params = load(layout.PARAMS, overrides)
    from pipeline.stages.download import download as fetch

    with _scratch() as folder:
        # Images of one's own may be others than those that DVC holds.
        images = folder / "images" if params.data.dataset == "custom" else _images(params)
        fetch(params.data, images)
        _train(params, "batchnorm" if batchnorm.lower() == "true" else "plain", images, folder / "training")


@main.command(context_settings=OVERRIDES)
@click.option("--grid", "grid_texts", multiple=True, metavar="KEY=VALUES", help="A key to vary; may be given again.")
@click.option("--grids", metavar="TEXT", help="Several KEY=VALUES with spaces between them, for `mlflow run`.")
@click.option("--study", type=click.Path(path_type=Path), help="A folder whose params.yaml holds `grid` and `set`.")
@click.option("--name", help="The sweep's name in MLflow and below sweeps/; by default made from its grid.")
@click.option("--dry-run", is_flag=True, help="Print the plan and an estimate, and do nothing.")
@click.option("--yes", is_flag=True, help="Go ahead with more than 10,000 trainings.")
@_with_overrides
def sweep(
    grid_texts: tuple[str, ...],
    grids: str | None,
    study: Path | None,
    name: str | None,
    dry_run: bool,
    yes: bool,
    overrides: dict[str, str],
) -> None:
    """Train both variants, all seeds, at every point of a grid. The same command again goes on where it stopped.

    \b
    python -m pipeline sweep --grid train.lr=0.001,0.01,0.1 --grid train.batch_size=60,2000
    python -m pipeline sweep --grid "train.lr=log(1e-4,1,9)" --data.holdout 10000
    python -m pipeline sweep --study studies/learning_rate --dry-run
    """
    from pipeline import grid, studies

    if study:
        settings = studies.read(study)
        name, overrides = name or settings.name, {**settings.overrides, **overrides}
        grid_texts = (*settings.grid, *grid_texts)
    values = grid.read([*grid_texts, *(grids or "").split()])
    points = grid.points(layout.PARAMS, overrides, values)
    params = load(layout.PARAMS, overrides)
    trainings = len(points) * len(VARIANTS) * len(params.train.seeds)
    if trainings > grid.LARGE and not yes:
        raise UserError(f"the grid has {trainings} trainings, more than {grid.LARGE}; give --yes if it is meant")
    if name and not NAME.fullmatch(name):
        raise UserError(f"name = {name}: should be letters, digits, '-' and '_'")
    folder = layout.SWEEPS / (name or grid.name(values))
    _sweep(params, points, values, folder, study / "results" if study else folder, dry_run=dry_run)


@main.command()
def track() -> None:
    """Give every stage's outputs a run in MLflow: those that DVC restored from its cache have none yet."""
    params = load(layout.PARAMS)
    images = _images(params)
    from pipeline import files, records, tracking
    from pipeline.outputs import as_json

    stages = [
        records.download(params, images),
        *(records.train(params, variant, images, layout.RUNS / variant) for variant in VARIANTS),
        records.evaluate(params, images, layout.RESULTS),
    ]
    for record in stages:
        if not record.complete():
            raise UserError(f"{record.stage}: its outputs are missing; run `dvc repro`")
        if not tracking.recorded(record.digest()):
            click.echo(f"{record.stage}: restored by DVC, recorded in MLflow")
            _tracked(record, lambda: None, restored=True)
    files.write(layout.TRACKED, as_json({record.stage: record.digest() for record in stages}))


def _train(params: Params, variant: Variant, images: Path, folder: Path) -> None:
    from pipeline.stages.train import read
    from pipeline.stages.train import train as fit

    split = read(params, images)
    from pipeline import records

    _tracked(records.train(params, variant, images, folder), lambda: fit(params, variant, split, folder))


def _sweep(
    params: Params, points: "list[Point]", values: dict[str, list[str]], folder: Path, results: Path, *, dry_run: bool
) -> None:
    images = _images(params)
    if not images.is_dir():
        from pipeline.stages.download import download as fetch

        fetch(params.data, images)
    from pipeline.stages import sweep as stage

    split = stage.read(params, points, images)
    tasks = stage.plan(points, images, folder)
    seconds = stage.estimate([task for task in tasks if not task.file.exists()], split)
    left = sum(not task.file.exists() for task in tasks)
    click.echo(
        f"{folder.name}: {len(points)} points, {len(tasks)} populations of {len(params.train.seeds)} seeds, "
        f"{left} still to train, about {seconds:.0f} seconds"
    )
    if not params.data.holdout:
        click.echo("data.holdout is 0: accuracies are the test images', so no best point is chosen")
    if dry_run:
        return
    from pipeline import records

    found = list(
        stage.run(
            tasks,
            split,
            lambda task, outcome: records.log_point(folder.name, task.point.params, task.variant, outcome, task.digest),
        )
    )
    stage.write(found, params, results)
    records.log_sweep(folder.name, values, results, own="MLFLOW_RUN_ID" not in os.environ)
    click.echo((results / "answer.md").read_text(encoding="utf-8"))


def _images(params: Params) -> Path:
    return layout.DATA / params.data.dataset


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _tracked(record: "Record", work: Callable[[], None], *, restored: bool = False) -> None:
    """Do a stage's work inside a run of MLflow."""
    from pipeline import tracking

    tags = {"restored": "true", "dvc.stage": record.stage} if restored else {}
    with tracking.start(record.stage, tags) as run:
        record.begin(run)
        work()
        record.finish(run)


def _stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
