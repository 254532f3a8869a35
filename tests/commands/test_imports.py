"""Commands import no library that they do not use: each takes between half a second and three."""

import subprocess
import sys

import pytest

from pipeline.cli import COMMANDS
from tests.samples import ROOT

# Triton, PyTorch's compiler, also reports what it leaves as leaked where it was imported before `gc.freeze`.
NEVER = {"matplotlib.pyplot", "ray", "scipy.stats", "torchvision", "triton"}
UNUSED = {
    "answer": {"matplotlib", "mlflow", "scipy", "torch"},
    "download": {"matplotlib", "mlflow", "scipy", "torch"},
    "evaluate": {"mlflow.pyfunc"},
    "run": {"matplotlib", "mlflow.pyfunc"},
    "sweep": {"mlflow", "scipy"},
    "track": {"matplotlib", "mlflow", "scipy", "torch"},
    "train": {"matplotlib", "mlflow.pyfunc"},
    "view": {"matplotlib", "mlflow", "scipy", "torch"},
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_begins_with_what_it_always_uses(command: str) -> None:
    program = f"import sys, pipeline.commands.{command}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (NEVER | UNUSED[command]) & set(shown.stdout.split()) == set()


def test_garbage_is_collected_again_after_the_import_and_not_among_modules() -> None:
    program = """
import gc, pipeline.cli
pipeline.cli.main(["track", "--help"], standalone_mode=False)
print(gc.isenabled(), gc.get_freeze_count() > 10_000)
"""
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.endswith("True True\n")
