"""Commands killed at random moments: afterwards the same command must complete as if nothing had been."""

import contextlib
import functools
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools import sandbox
from tools.faults import project

PIPELINE = ("python", "-m", "pipeline")
SWEEP = (*PIPELINE, "sweep", "--grid", "lr=0.01,0.1", "--name", "small")
# Every 0.1 seconds, not 10.
CHECKPOINTS = "from pipeline import cli; from pipeline.training import checkpoint; checkpoint.SECONDS = 0.1; cli.main()"
COMMANDS = {
    "train": (*PIPELINE, "train", "batchnorm"),
    "train with checkpoints": ("python", "-c", CHECKPOINTS, "train", "plain", "--hidden", "600,600", "--epochs", "12"),
    "train with workers": (*PIPELINE, "train", "plain", "--hidden", "600,600", "--epochs", "12", "--workers", "2"),
    "evaluate": (*PIPELINE, "evaluate"),
    "sweep": SWEEP,
    "sweep on Ray": (*SWEEP, "--ray", "local"),
    "run": (*PIPELINE, "run", "--batchnorm", "true"),
    "dvc repro": ("dvc", "repro"),
    "mlflow run": ("mlflow", "run", ".", "--env-manager", "local", "-P", "batchnorm=false", "-P", "lr=0.05"),
}
SLOW = ("sweep on Ray", "dvc repro")  # are killed half as often
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}
A_WORKER = "SIGKILL of a worker"  # which the command survives
PATIENCE = 120.0  # seconds that processes may take to end after a signal; Ray's own take a minute where none reached it
STORELESS = 0.2  # of the kills are in a project without a store, which the command has to make


@dataclass(frozen=True)
class Fault:
    """A fault of a kind, and what was lost by it: nothing if there are no problems."""

    kind: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Undisturbed:
    """What a command leaves where nothing disturbs it, and in how many seconds."""

    seconds: float
    outputs: dict[str, str]
    records: dict[str, int]


class Bench:
    """The project that every kill starts from, and each command's undisturbed end. Safe to use from threads."""

    def __init__(self, folder: Path) -> None:
        """Make the project, with a store in which nothing is recorded."""
        self._folder = folder
        self._undisturbed: dict[str, Undisturbed] = {}
        self._lock = threading.Lock()
        self._bare = sandbox.make(folder / "bare", git=False)
        shutil.copytree(self._bare / "images", self._bare / "data" / "custom")
        self._stocked = self._bare.with_name("stocked")
        shutil.copytree(self._bare, self._stocked)
        make_store = "import mlflow; mlflow.MlflowClient('sqlite:///mlflow.db').get_experiment('0')"
        sandbox.output(self._stocked, "python", "-c", make_store)

    @functools.cached_property
    def _runs(self) -> Path:
        """Both trainings, which only `evaluate` needs."""
        folder = shutil.copytree(self._bare, self._folder / "trained")
        for variant in ("plain", "batchnorm"):
            sandbox.output(folder, *PIPELINE, "train", variant)
        return folder / "runs"

    def undisturbed(self, command: str) -> Undisturbed:
        """Return what the command leaves; it runs once."""
        with self._lock:
            if command not in self._undisturbed:
                folder = self.fresh(command, store=True)
                started = time.monotonic()
                sandbox.output(folder, *COMMANDS[command])
                seconds = time.monotonic() - started
                self._undisturbed[command] = Undisturbed(seconds, project.outputs(folder), project.records(folder))
            return self._undisturbed[command]

    def kill(self, command: str, name: str, seed: int) -> Fault:
        """Send a signal to a command at a random moment, start it again, and compare."""
        wanted = self.undisturbed(command)
        chance = random.Random(f"{command} {name} {seed}")
        store = command == "mlflow run" or chance.random() > STORELESS  # MLflow itself cannot resume making one
        seconds = wanted.seconds
        struck = None
        while struck is None:  # a command that was faster than its signal is started anew
            moment = chance.uniform(0.2, 0.95) * seconds
            folder = self.fresh(command, store=store)
            if name == A_WORKER:
                struck = _strike_worker(folder, command)
            else:
                whole_group = name == "Ctrl-C" or chance.random() < 0.5
                struck = _strike(folder, command, SIGNALS[name], moment, whole_group)
            if struck is None:
                shutil.rmtree(folder.parent)
            seconds *= 0.9
        before = project.records(folder)
        done = sandbox.call(folder, *COMMANDS[command])
        problems = struck + _compare(folder, wanted, done.returncode, done.stderr, again=before == wanted.records)
        return self.judge(f"{command}, {name}", moment, seed, folder, problems)

    def judge(self, kind: str, moment: float, seed: int, folder: Path, problems: list[str]) -> Fault:
        """Sum a fault up; its project stays, to be looked at, if something was lost."""
        if problems:
            problems = [f"{kind} after {moment:.2f} s, seed {seed}, in {folder}:", *problems]
        else:
            shutil.rmtree(folder.parent)
        return Fault(kind, tuple(problems))

    def fresh(self, command: str, *, store: bool) -> Path:
        """Copy the project for a command, without what that is to make."""
        folder = Path(tempfile.mkdtemp(dir=self._folder)) / "project"
        if store:
            project.copy(self._stocked, folder)
        else:
            shutil.copytree(self._bare, folder)
        if command == "evaluate":
            shutil.copytree(self._runs, folder / "runs")
        return folder


def _strike(folder: Path, command: str, number: int, moment: float, whole_group: bool) -> list[str] | None:
    """Start the command and signal it; return what is wrong right afterwards, or None if it was over before."""
    with (folder.parent / "log").open("wb") as log:
        process = sandbox.start(folder, *COMMANDS[command], log=log)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
            return None
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(PATIENCE)
        if not _ended(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
            return [f"processes went on for {PATIENCE:.0f} s after the signal"]
    # MLflow has its run before there is a process of ours to end it; the next command does.
    if number != signal.SIGKILL and command != "mlflow run" and project.statuses(folder)["RUNNING"]:
        return ["a run was RUNNING after a signal that lets its process end it"]
    return []


def _strike_worker(folder: Path, command: str) -> list[str] | None:
    """Start the command and kill one of its workers; return what is wrong at its end, or None if it had no worker."""
    with (folder.parent / "log").open("wb") as log:
        process = sandbox.start(folder, *COMMANDS[command], log=log)
        while not (workers := _workers(process.pid)) and process.poll() is None:
            time.sleep(0.02)
        if not workers:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            workers[0].kill()
        return [f"it ended with {code}, though only a worker was killed"] if (code := process.wait(PATIENCE)) else []


def _workers(pid: int) -> list[psutil.Process]:
    """Return the workers of a process: its grandchildren, which the server has forked."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [worker for server in psutil.Process(pid).children() for worker in server.children()]
    return []


def _ended(group: int) -> bool:
    """Wait until no process of the group is left."""
    for _ in range(int(PATIENCE * 10)):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def _compare(folder: Path, wanted: Undisturbed, code: int, errors: str, *, again: bool) -> list[str]:
    """Return what differs from the undisturbed end; records that were whole before may be there `again`."""
    problems = [] if code == 0 else [f"the same command again ended with {code}: {errors[-2000:]}"]
    found = project.outputs(folder)
    differ = sorted(
        name for name in found.keys() | wanted.outputs.keys() if found.get(name) != wanted.outputs.get(name)
    )
    if differ:
        problems.append(f"other outputs than undisturbed: {', '.join(differ)}")
    if running := project.statuses(folder)["RUNNING"]:
        problems.append(f"{running} runs stay RUNNING")
    records = project.records(folder)
    twice = {text: 2 * count for text, count in wanted.records.items()}
    if records != wanted.records and not (again and records == twice):
        problems.append(f"{sum(records.values())} finished records, expected {sum(wanted.records.values())} like them")
    if left := project.leftovers(folder):
        problems.append(f"left behind: {', '.join(left)}")
    return problems
