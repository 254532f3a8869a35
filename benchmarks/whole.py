"""The whole project, run in a temporary copy: the seconds of its commands and every stage's peak memory."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil

from benchmarks.rounds import Measure, Progress, Seconds, busy, take_turns, worker
from benchmarks.settings import LARGE_BATCH
from pipeline.errors import UserError
from pipeline.params import VARIANTS
from pipeline.paths import DATA

STAGES: tuple[tuple[str, ...], ...] = (
    ("download",),
    *(("train", variant) for variant in VARIANTS),
    ("evaluate",),
    ("track",),
)
REPEATS = 5  # of commands that do nothing
INTERVAL = 0.1  # seconds between two looks at a stage's memory


def commands(folder: Path, rounds: int, progress: Progress) -> Seconds:
    """Measure one training of the lab, `dvc repro --force` on idle and busy machines, and commands that do nothing."""
    repro = partial(run, ["dvc", "repro", "--force"], folder)
    with worker("training", VARIANTS[0], LARGE_BATCH) as training:
        measures: dict[str, Measure] = {
            "training": training,
            "repro": repro,
            "busy": busy(repro),
            "pinned": busy(repro, pinned=True),
        }
        seconds = take_turns("the whole project", measures, rounds, progress)
    nothing: dict[str, Measure] = {
        "unchanged": partial(run, ["dvc", "repro"], folder),
        "help": partial(run, ["python", "-m", "pipeline", "--help"], folder),
    }
    return seconds | take_turns("nothing to do", nothing, REPEATS, progress)


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


def peak_memory(command: Sequence[str], folder: Path) -> int:
    """Run a command and return the greatest memory, in bytes, of its processes together; shared pages count once."""
    peak = 0
    with _started(command, folder) as process:
        while process.poll() is None:
            peak = max(peak, _memory(psutil.Process(process.pid)))
            time.sleep(INTERVAL)
    return peak


def run(command: Sequence[str], folder: Path) -> float:
    """Run a command of this environment in `folder`, and return its seconds.

    Raises:
        UserError: The command failed.
    """
    start = time.perf_counter()
    with _started(command, folder):
        pass
    return time.perf_counter() - start


@contextlib.contextmanager
def _started(command: Sequence[str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(command, cwd=folder, env=_environment(), stdout=output, stderr=output) as process:
            yield process
        if process.returncode:
            output.seek(0)
            last = (output.read().strip().splitlines() or ["no output"])[-1]
            raise UserError(f"`{' '.join(command)}` failed in a copy of the project: {last}")


def _memory(process: psutil.Process) -> int:
    """Return the bytes of a process and those that it started, where Linux tells it without what others share."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                used = each.memory_full_info()
                total += getattr(used, "pss", used.uss)
    return total


def _environment() -> dict[str, str]:
    """Return an environment that finds this `python` and `dvc` first, and names no other store or experiment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}
