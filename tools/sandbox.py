"""Throw-away projects with random images and small networks, and commands that see none of the user's settings."""

import atexit
import fnmatch
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from ruamel.yaml import YAML

from pipeline.data import idx

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (3, 5)
SMALL: dict[str, object] = {
    "data.dataset": "custom",
    "model.hidden": [8, 6],
    "train.seeds": list(SEEDS),
    "train.epochs": 2,
    "train.batch_size": 64,
    "train.device": "cpu",
    "train.threads": 1,
}
USERS = ("MLFLOW_", "DVC_", "GIT_", "RAY_", "XDG_", "MPL", "MATPLOTLIB", "PYTEST_")
"""Prefixes of the environment variables that would bring the user's settings into a command."""


def encode(training: int = 300, test: int = 100, seed: int = 0, pixel: int | None = None) -> dict[str, bytes]:
    """Return the four IDX files: random images in which a bright row tells the class, or all pixels of one value."""
    random = np.random.default_rng(seed)
    files = []
    for count in (training, test):
        labels = random.integers(0, 10, count, np.uint8)
        images = random.integers(0, 100, (count, 28, 28), np.uint8)
        images[np.arange(count), 2 * labels + 3] += 150
        if pixel is not None:
            images[:] = pixel
        files += [idx.encode_images(images), idx.encode_labels(labels)]
    return dict(zip(idx.FILES, files, strict=True))


def write_images(folder: Path, training: int = 300, test: int = 100, seed: int = 0, pixel: int | None = None) -> Path:
    """Write what `encode` returns into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in encode(training, test, seed, pixel).items():
        (folder / name).write_bytes(content)
    return folder


def write_params(folder: Path, changes: Mapping[str, object]) -> None:
    """Write the project's params.yaml into `folder`, with small networks and the `changes`, such as `train.lr`."""
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    for name, value in {**SMALL, **changes}.items():
        section, key = name.split(".")
        params[section][key] = value
    yaml.dump(params, folder / "params.yaml")


def make(folder: Path, *, git: bool = True) -> Path:
    """Copy the project to `folder`, with its images in `images`.

    Everything in it is committed to a new Git repository; with `git=False` there is none, and DVC needs none.
    """
    shutil.copytree(ROOT, folder, ignore=_ignored)
    write_images(folder / "images")
    write_params(folder, {"data.directory": "images"})
    config = (ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    config = config.replace("[core]\n", f"[core]\n    no_scm = {str(not git).lower()}\n")
    (folder / ".dvc" / "config").write_text(config, encoding="utf-8")
    if git:
        commit(folder)
    return folder


def _ignored(folder: str, names: list[str]) -> set[str]:
    """Return the names in a folder of the project that are not to be copied: what Git ignores, .git and dvc.lock."""
    patterns = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()]
    patterns += ["/.git", "/.dvc/[!.]*", "dvc.lock"]
    place = Path("/") / Path(folder).relative_to(ROOT)
    return {
        name
        for name in names
        for pattern in patterns
        if fnmatch.fnmatch(str(place / name) if pattern.startswith("/") else name, pattern)
    }


def commit(folder: Path) -> None:
    """Commit all that Git does not ignore; make the repository if there is none."""
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "changed"]):
        output(folder, "git", *command)


@functools.cache
def home() -> Path:
    """Make a home directory for commands, with a Git identity in it and nothing else; it is removed at exit."""
    folder = Path(tempfile.mkdtemp(prefix="home-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    identity = "[user]\n    name = n\n    email = e@example.org\n[safe]\n    directory = *\n"
    (folder / ".gitconfig").write_text(identity, encoding="utf-8")
    return folder


def environment(**more: str) -> dict[str, str]:
    """Return an environment without the user's settings, in which this Python's programs come first in PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(USERS)}
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(home()),
        "GIT_CONFIG_GLOBAL": str(home() / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_SYSTEM_CONFIG_DIR": str(home()),
        "DVC_SITE_CACHE_DIR": str(home() / "dvc"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    return {**kept, **own, **more}


def start(folder: Path, *command: str, log: IO[bytes], **more: str) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, with `more` variables in its environment."""
    env = environment(**more)
    return subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)


def call(folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with `more` variables in its environment."""
    env = environment(**more)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=900)


def output(folder: Path, *command: str, **more: str) -> str:
    """Run a command that must succeed, and return what it prints.

    Raises:
        RuntimeError: The command failed; what it printed is in the message.
    """
    done = call(folder, *command, **more)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
