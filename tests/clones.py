"""Copies of the project, as its users have them, with tiny data; and commands that are run there."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from pipeline.data import idx
from tests.conftest import ROOT
from tools.faults import project

LEFT_OUT = {
    ".git",
    ".venv",
    "data",
    "runs",
    "mlflow.db",
    "mlruns",
    "sweeps",
    ".dvc/cache",
    ".dvc/tmp",
    ".dvc/config.local",
}
SEEDS = (3, 5)


def own_images(folder: Path, seed: int = 0) -> Path:
    """300 training and 100 test images in which a bright row tells the class."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    for count, (images, labels) in ((300, idx.FILES[:2]), (100, idx.FILES[2:])):
        classes = random.integers(0, 10, count, np.uint8)
        pixels = random.integers(0, 100, (count, 28, 28), np.uint8)
        pixels[np.arange(count), 2 * classes + 3] += 150
        (folder / images).write_bytes(idx.encode_images(pixels))
        (folder / labels).write_bytes(idx.encode_labels(classes))
    return folder


def make(top: Path) -> Path:
    """A copy of the project, in a Git repository of its own below `top`, with tiny data and small networks."""
    own_images(top / "images")
    folder = top / "clone"
    shutil.copytree(ROOT, folder, ignore=_left_out)
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["data"] |= {"dataset": "custom", "directory": str(top / "images")}
    params["model"]["hidden"] = [8, 6]
    params["train"] |= {"seeds": list(SEEDS), "epochs": 2, "batch_size": 64}
    params["evaluate"]["resamples"] = 100
    yaml.dump(params, folder / "params.yaml")
    commit(folder)
    return folder


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Leave out what Git does not have, and the lock of DVC."""
    return {
        name
        for name in names
        if str((Path(folder) / name).relative_to(ROOT)) in LEFT_OUT or name in ("__pycache__", "dvc.lock")
    }


def commit(folder: Path) -> None:
    """Commit all that Git does not ignore; make the repository if there is none."""
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "changed"]):
        done = call(folder, "git", "-c", "user.name=n", "-c", "user.email=e@example.org", *command)
        assert done.returncode == 0, done.stderr


def call(folder: Path, *command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command with the environment's programs first in PATH, and no tracking settings of the caller."""
    own = project.environment(**(env or {}))
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)
