"""The command `answer`."""

import click

from pipeline import paths
from pipeline.commands.pages import link
from pipeline.errors import UserError


@click.command()
def answer() -> None:
    """Print the last comparison's answer in two lines, and where MLflow shows it.

    \b
    python -m pipeline answer
    """
    file = paths.RESULTS / "answer.md"
    try:
        headline = file.read_text(encoding="utf-8").splitlines()[2]
    except (OSError, IndexError):
        raise UserError(f"{file}: no answer yet; run `dvc repro`") from None
    setting, _, result = headline.partition(": ")
    print(f"{setting}:\n{result}")
    print(f"Curves and activations, with `make ui`: {link()}")
