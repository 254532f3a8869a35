"""What DVC makes of edits, of going back, of a fresh clone, and of a stage that was killed: in a copy, on tiny data."""

import contextlib
import json
import os
import pty
import signal
import time
from pathlib import Path

import pytest

from tools import sandbox
from tools.faults import project
from tools.sandbox import call, output

TRAINING = ("data", "network", "training")  # the packages whose change trains the networks again
GROUND = ("__init__.py", "errors.py", "files.py", "params.py", "stages/__init__.py", "stages/train.py")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which `dvc repro` has run, and what it has left is committed."""
    folder = sandbox.make(tmp_path_factory.mktemp("dvc") / "origin")
    output(folder, "dvc", "repro")
    sandbox.commit(folder)
    return folder


@pytest.fixture
def copy(origin: Path, tmp_path: Path) -> Path:
    """A copy of the origin, with its cache and its store."""
    return project.copy(origin, tmp_path / "copy")


def changed(folder: Path, *stages: str) -> set[str]:
    """Those of some stages, by default of all of the root pipeline, that DVC would run."""
    return {name for name in json.loads(output(folder, "dvc", "status", "--json", *stages)) if "/" not in name}


def test_in_a_fresh_clone_all_is_trained_and_git_sees_no_change(origin: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    output(tmp_path, "git", "clone", "-q", str(origin), str(fresh))
    printed = output(fresh, "dvc", "repro")
    for stage in ("download", "train@plain", "train@batchnorm", "track"):
        assert f"Running stage '{stage}'" in printed
    assert "evaluate: restored by DVC, recorded in MLflow\n" in printed, "the results came with Git, and fit"
    assert output(fresh, "git", "status", "--porcelain") == ""
    assert changed(fresh) == set()


def test_edits_train_again_where_dvc_yaml_says_so_and_nowhere_else(copy: Path) -> None:
    package = copy / "pipeline"
    rooms = [path.parent for path in package.glob("*/__init__.py") if path.parent.name != "stages"]
    files = {sorted(room.glob("*.py"))[-1] for room in rooms}
    files |= {*package.glob("*.py"), *(package / "stages").rglob("*.py")}
    assert {path.relative_to(package).parts[0] for path in files} >= {*TRAINING, "tracking", "records", "commands"}
    for path in sorted(files):
        name = path.relative_to(package).as_posix()
        whole = path.read_bytes()
        path.write_bytes(whole + b"# changed\n")
        trains = name.startswith(tuple(f"{room}/" for room in TRAINING)) or name in GROUND
        assert bool(changed(copy, "train@plain")) is trains, name
        path.write_bytes(whole)
    assert changed(copy) == set()


def test_compiled_code_is_no_change(copy: Path) -> None:
    output(copy, "python", "-m", "compileall", "-q", "pipeline")
    assert list((copy / "pipeline" / "training" / "__pycache__").iterdir())
    assert changed(copy) == set()


def test_going_back_trains_nothing(copy: Path) -> None:
    set_epochs(copy, 1)
    assert "Running stage 'train@plain'" in output(copy, "dvc", "repro")
    output(copy, "git", "stash")
    output(copy, "dvc", "checkout")
    assert "Running stage 'train" not in output(copy, "dvc", "repro")
    assert output(copy, "git", "status", "--porcelain") == ""


def test_a_killed_stage_that_dvc_restores_leaves_no_run_running(copy: Path) -> None:
    set_epochs(copy, 100_000)
    with (copy.parent / "log").open("wb") as log:
        process = sandbox.start(copy, "dvc", "repro", "train@plain", log=log)
        wait_for_a_running_run(copy)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert project.statuses(copy)["RUNNING"] == 1
    set_epochs(copy, 2)
    printed = output(copy, "dvc", "repro")
    assert "Running stage 'train" not in printed
    assert "Running stage 'track'" in printed
    assert set(project.statuses(copy)) == {"FINISHED", "KILLED"}
    assert changed(copy) == set()


def test_commands_that_are_no_stage_leave_dvcs_status_clean(copy: Path) -> None:
    done = call(copy, "python", "-m", "pipeline", "run", "--batchnorm", "true", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    output(copy, "python", "-m", "pipeline", "evaluate", "--scratch")
    assert changed(copy) == set()


def test_in_a_terminal_dvc_shows_the_progress_of_its_stages(copy: Path) -> None:
    set_epochs(copy, 3)
    master, slave = pty.openpty()  # whose width is unknown, as under `script`
    with os.fdopen(slave, "wb") as log:
        process = sandbox.start(copy, "dvc", "repro", "train@plain", log=log)
    shown = read_all(master)
    assert process.wait() == 0, shown
    assert "train plain: 2 networks, 3 epochs each" in shown
    assert "train plain ##########: 6 of 6 epochs" in shown


def read_all(terminal: int) -> str:
    """What is written into a terminal until all that write have ended."""
    content = b""
    with contextlib.suppress(OSError):  # which is how a terminal ends
        while part := os.read(terminal, 1 << 16):
            content += part
    os.close(terminal)
    return content.decode()


def set_epochs(folder: Path, epochs: int) -> None:
    path = folder / "params.yaml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (at,) = (at for at, line in enumerate(lines) if line.startswith("  epochs:"))
    lines[at] = f"  epochs: {epochs}\n"
    path.write_text("".join(lines), encoding="utf-8")


def wait_for_a_running_run(folder: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if project.statuses(folder)["RUNNING"]:
            return
        time.sleep(0.1)
    raise AssertionError("no stage has begun a run")
