"""The command line: one command per stage. Errors that the user can mend become one line and exit code 2."""

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click

from pipeline.errors import UserError
from pipeline.processes import STOP_SIGNALS, exit_with_parent
from pipeline.tracking import place
from pipeline.tracking.errors import TrackingError

# The first sentence of each command's help. A command's module imports PyTorch and MLflow, which takes seconds.
COMMANDS = {
    "answer": "Print the last comparison's answer in two lines, and where MLflow shows it.",
    "download": "Fetch and verify the images.",
    "evaluate": "Compare the two variants in runs/, into results/lab.",
    "run": "Train one variant for MLflow alone, fetching the images if they are missing.",
    "sweep": "Train all variants, all seeds, at every point of a grid.",
    "track": "Give every stage's outputs a run in MLflow.",
    "train": "Train every seed of one variant, into runs/VARIANT.",
    "view": "Print where MLflow's pages show the saved view.",
}


class _Failure(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Commands that are imported when they are called."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        gc.disable()  # modules stay: looking for garbage among them takes a quarter of the time of importing them
        module = importlib.import_module(f"pipeline.commands.{name}")
        gc.freeze()  # nor look there later, or at the end
        gc.enable()
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **options: Any) -> click.Context:
        with _one_line():
            if sys.platform == "win32":
                raise UserError("Windows is supported through WSL: run the same commands in a shell of `wsl`")
            if "--" in args:  # which click would drop, and take the next name for its value
                raise UserError("--: neither the name of a parameter nor a value")
            return super().make_context(info_name, args, *more, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _one_line():
                place.check()
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted. The same command again resumes or starts over; nothing is half done.", err=True)
            sys.exit(128 + signal.SIGINT)


@click.group(cls=_Commands)
def main() -> None:
    """What Batch Normalization changes when a small network learns MNIST.

    Usually called by DVC (`dvc repro`) and by MLflow (`mlflow run . -P batchnorm=false`). Settings come from
    params.yaml; any of them can be given as --NAME VALUE, by its dotted name or by its last part.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    _open_streams()
    exit_with_parent()


def _open_streams() -> None:
    """Open the standard streams that are closed, as a daemon may leave them: progress and messages go nowhere."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # or the next file would be taken for one of them
        pass
    os.close(number)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r+", encoding="utf-8"))  # noqa: SIM115


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise _Failure(str(UserError(error.format_message()))) from None
    except (UserError, TrackingError) as error:
        raise _Failure(str(error)) from None
    except OSError as error:  # a full disk and the like, wherever it shows
        where = f"{error.filename}: " if error.filename else ""
        raise _Failure(str(UserError(f"{where}{error.strerror or error}"))) from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        smaller = "make model.hidden, train.batch_size or train.validation_batch_size smaller"
        raise _Failure(str(UserError(f"not enough memory ({error}); {smaller}"))) from None


def _stop(number: int, _: FrameType | None) -> None:
    for other in STOP_SIGNALS:  # the next must not interrupt what the first has set off: `mlflow run` sends two
        signal.signal(other, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
