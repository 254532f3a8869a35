"""The whole project, run in a temporary copy: the seconds of `dvc repro` and every stage's peak memory."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.settings import STUDY
from pipeline.errors import UserError
from pipeline.params import VARIANTS
from pipeline.paths import DATA

STAGES: tuple[tuple[str, ...], ...] = (
    ("download",),
    *(("train", variant) for variant in VARIANTS),
    ("evaluate",),
    ("track",),
)
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes; getrusage(2) of macOS and of Linux


def tracked_files() -> list[Path]:
    """List the project's files, without those that Git ignores.

    Raises:
        UserError: This is not a Git clone.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError("the files to copy are those that `git ls-files` lists: run the benchmark in a clone")
    return [path for path in map(Path, done.stdout.split("\0")) if path.is_file()]


@contextlib.contextmanager
def copy(paths: Sequence[Path]) -> Iterator[Path]:
    """Copy the project and its images into a temporary folder, with a separate MLflow store and DVC cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, folder / path)
        shutil.copytree(DATA, folder / DATA, dirs_exist_ok=True)
        run(["dvc", "config", "--local", "core.no_scm", "true"], folder)
        yield folder


def peak_memory(folder: Path, stage: Sequence[str]) -> int:
    """Run a stage and return the greatest resident memory, in bytes, of its process or one of its children."""
    return run(["python", "-m", "pipeline", *stage], folder)


def repro_seconds(folder: Path) -> float:
    """Run every stage through DVC, even if it is up to date, and return the seconds."""
    start = time.perf_counter()
    run(["dvc", "repro", "--force"], folder)
    return time.perf_counter() - start


def study(folder: Path) -> tuple[float, int]:
    """Run a study through DVC from scratch, and return its seconds and its peak memory in bytes."""
    start = time.perf_counter()
    memory = run(["dvc", "repro", f"studies/{STUDY}/dvc.yaml"], folder)
    return time.perf_counter() - start, memory


def run(command: Sequence[str], folder: Path) -> int:
    """Run a command of this environment in `folder`, and return its peak memory in bytes.

    Raises:
        UserError: The command failed.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=folder, env=_environment(), stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            last = (output.read().strip().splitlines() or ["no output"])[-1]
            raise UserError(f"`{' '.join(command)}` failed in a copy of the project: {last}")
    return usage.ru_maxrss * MAXRSS_UNIT


def _environment() -> dict[str, str]:
    """Return an environment that finds this `python` and `dvc` first, and names no other store or experiment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}
