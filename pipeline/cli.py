"""The command line: one command per stage. Errors that the user can mend become one line and exit code 2."""

import contextlib
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click

from pipeline import paths, processes
from pipeline.commands import flows
from pipeline.errors import UserError
from pipeline.params import VARIANTS, Variant, load
from pipeline.sweeps import grid

NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
OVERRIDES: dict[str, Any] = {"ignore_unknown_options": True}


class _Failure(click.ClickException):
    exit_code = 2


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise _Failure(str(UserError(error.format_message()))) from None
    except UserError as error:
        raise _Failure(str(error)) from None
    except OSError as error:  # a full disk and the like, wherever it shows
        where = f"{error.filename}: " if error.filename else ""
        raise _Failure(str(UserError(f"{where}{error.strerror or error}"))) from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        smaller = "make model.hidden, train.batch_size or train.validation_batch_size smaller"
        raise _Failure(str(UserError(f"not enough memory ({error}); {smaller}"))) from None


class _Commands(click.Group):
    def make_context(self, info_name: str | None, args: list[str], *more: Any, **options: Any) -> click.Context:
        with _one_line():
            if "--" in args:  # which click would drop, and take the next name for its value
                raise UserError("--: neither the name of a parameter nor a value")
            return super().make_context(info_name, args, *more, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _one_line():
                return super().invoke(ctx)
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
            raise UserError(f"{token!r}: expected --NAME VALUE, where NAME is a parameter of params.yaml")
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
    for number in processes.STOPS:
        signal.signal(number, _stop)
    processes.stop_with_master()


@main.command(context_settings=OVERRIDES)
@_with_overrides
def download(overrides: dict[str, str]) -> None:
    """Fetch and verify the images.

    \b
    python -m pipeline download
    python -m pipeline download --dataset kmnist
    """
    flows.download(load(paths.PARAMS, overrides))


@main.command(context_settings=OVERRIDES)
@click.argument("variant", type=click.Choice(VARIANTS))
@_with_overrides
def train(variant: Variant, overrides: dict[str, str]) -> None:
    """Train every seed of one variant, into runs/VARIANT.

    \b
    python -m pipeline train batchnorm
    python -m pipeline train plain --lr 0.01 --seeds 0,1
    """
    flows.train(load(paths.PARAMS, overrides), variant)


@main.command(context_settings=OVERRIDES)
@click.option("--scratch", is_flag=True, help="Leave results/lab alone: the results go to MLflow only.")
@_with_overrides
def evaluate(scratch: bool, overrides: dict[str, str]) -> None:
    """Compare the two variants in runs/, into results/lab.

    \b
    python -m pipeline evaluate
    python -m pipeline evaluate --scratch --confidence 0.99
    """
    flows.evaluate(load(paths.PARAMS, overrides), scratch=scratch)


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
    flows.train_alone(load(paths.PARAMS, overrides), "batchnorm" if batchnorm.lower() == "true" else "plain")


@main.command(context_settings=OVERRIDES)
@click.option("--grid", "grid_texts", multiple=True, metavar="KEY=VALUES", help="A key to vary; may be given again.")
@click.option("--grids", metavar="TEXT", help="Several KEY=VALUES with spaces between them, for `mlflow run`.")
@click.option("--study", type=click.Path(path_type=Path), help="A folder whose params.yaml holds `grid` and `set`.")
@click.option("--name", help="The sweep's name in MLflow and below sweeps/; by default made from its grid.")
@click.option("--ray", metavar="ADDRESS", help="Train on a Ray cluster: auto, ray://HOST:PORT, HOST:PORT or local.")
@click.option("--dry-run", is_flag=True, help="Print the plan with an estimate of its seconds, and do nothing.")
@click.option("--yes", is_flag=True, help="Go ahead with more than 10,000 trainings.")
@_with_overrides
def sweep(
    grid_texts: tuple[str, ...],
    grids: str | None,
    study: Path | None,
    name: str | None,
    ray: str | None,
    dry_run: bool,
    yes: bool,
    overrides: dict[str, str],
) -> None:
    """Train both variants, all seeds, at every point of a grid. The same command again goes on where it stopped.

    \b
    python -m pipeline sweep --grid train.lr=0.001,0.01,0.1 --grid train.batch_size=60,2000
    python -m pipeline sweep --grid "train.lr=log(1e-4,1,9)" --data.holdout 10000
    python -m pipeline sweep --study studies/learning_rate --dry-run
    python -m pipeline sweep --study studies/learning_rate --ray auto
    """
    if name and not NAME.fullmatch(name):
        raise UserError(f"name = {name}: should be at most 100 letters, digits, '-' and '_'")
    settings = flows.read_study(study) if study else None
    if settings:
        name, overrides = name or settings.name, {**settings.overrides, **overrides}
    given = [*grid_texts, *(grids or "").split()]
    read = [grid.read([*texts, *given]) for texts in (settings.grids if settings else [()])]
    folder = paths.SWEEPS / (name or grid.name(read[0], overrides))
    results = study / "results" if study else folder
    flows.sweep(read, overrides, folder, results, study=settings, ray=ray, dry_run=dry_run, yes=yes)


@main.command()
def track() -> None:
    """Give every stage's outputs a run in MLflow: those that DVC restored from its cache have none yet."""
    flows.track(load(paths.PARAMS))


def _stop(number: int, _: FrameType | None) -> None:
    for other in processes.STOPS:  # the next must not break off what the first has set going: `mlflow run` sends two
        signal.signal(other, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
