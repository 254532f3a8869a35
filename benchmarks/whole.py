"""The whole project, run in a temporary copy: the seconds of its commands and every stage's peak memory."""

import contextlib
import shutil
import subprocess
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
from pipeline.paths import DATA, PARAMS
from tools import sandbox

STAGES = ("download", *(f"train {variant}" for variant in VARIANTS), "evaluate", "track")
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
        }
        seconds = take_turns("the whole project", measures, rounds, progress)
    nothing: dict[str, Measure] = {
        "unchanged": partial(run, ["dvc", "repro"], folder),
        "help": partial(run, ["python", "-m", "pipeline", "--help"], folder),
    }
    return seconds | take_turns("nothing to do", nothing, REPEATS, progress)


@contextlib.contextmanager
def copy() -> Iterator[Path]:
    """Copy the project and its images into a temporary folder, with a separate MLflow store and DVC cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = sandbox.make(Path(name) / "project", git=False)
        shutil.copy(PARAMS, folder)
        shutil.copytree(DATA, folder / DATA)
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
    """Run a command of this environment in `folder`, and return its seconds; a failure is a UserError."""
    start = time.perf_counter()
    with _started(command, folder):
        pass
    return time.perf_counter() - start


@contextlib.contextmanager
def _started(command: Sequence[str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(command, cwd=folder, env=sandbox.environment(), stdout=output, stderr=output) as process:
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
