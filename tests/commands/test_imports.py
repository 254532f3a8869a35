"""Commands import no library that they do not use: each takes between half a second and three."""

import gc
import subprocess
import sys

import click
import pytest

from pipeline.cli import COMMANDS, main
from tests.samples import ROOT

NEVER = {"matplotlib.pyplot", "ray", "scipy.stats", "torchvision"}
UNUSED = {
    "download": {"matplotlib", "mlflow", "scipy", "torch"},
    "evaluate": {"mlflow.pyfunc"},
    "run": {"matplotlib", "mlflow.pyfunc"},
    "sweep": {"mlflow", "scipy"},
    "track": {"matplotlib", "mlflow", "scipy", "torch"},
    "train": {"matplotlib", "mlflow.pyfunc"},
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_begins_with_what_it_always_uses(command: str) -> None:
    program = f"import sys, pipeline.commands.{command}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (NEVER | UNUSED[command]) & set(shown.stdout.split()) == set()


def test_garbage_is_collected_again_after_the_import_and_not_among_modules() -> None:
    assert main.get_command(click.Context(main), "track")
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
