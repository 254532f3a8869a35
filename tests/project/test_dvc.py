"""What DVC makes of edits, of going back, of a fresh clone, and of a stage that was killed: in a copy, on tiny data."""

import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.analysis.figures import COLOURS
from pipeline.params import VARIANTS
from tools import sandbox
from tools.faults import project
from tools.sandbox import ROOT, call, output

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TRAINING = ("data", "network", "training")  # the packages whose change trains the networks again
GROUND = ("__init__.py", "errors.py", "files.py", "params.py", "parts.py", "stages/__init__.py", "stages/train.py")


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


@pytest.mark.filterwarnings("ignore:The ``noload``")  # MLflow's own
def test_from_a_runs_tags_back_to_the_same_bytes(copy: Path) -> None:
    store = MlflowClient(f"sqlite:///{copy}/mlflow.db")
    (run,) = store.search_runs(["0"], "tags.stage = 'train@plain'")
    before = {path.name: path.read_bytes() for path in (copy / "runs" / "plain").iterdir()}
    set_epochs(copy, 1)
    sandbox.commit(copy)
    output(copy, "dvc", "repro")
    sandbox.commit(copy)
    assert tracked(copy) != run.data.tags["digest.outputs"]
    assert run.data.tags["git.dirty"] == "false"
    output(copy, "git", "checkout", "-q", run.data.tags["mlflow.source.git.commit"])
    assert "Running stage 'train" not in output(copy, "dvc", "repro")
    assert tracked(copy) == run.data.tags["digest.outputs"]
    assert {path.name: path.read_bytes() for path in (copy / "runs" / "plain").iterdir()} == before


def tracked(folder: Path) -> str:
    """The digest of the outputs of train@plain that are at hand."""
    ledger = json.loads((folder / "mlruns" / "tracked.json").read_text(encoding="utf-8"))
    return str(ledger["train@plain"])


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


SHOWN = (
    ("metrics", "show"),
    ("dag", "track"),
    ("exp", "show", "--no-pager", "--only-changed", "--hide-workspace", "--drop", "Created|Executor|low|high|.*/"),
)


def test_what_dvc_shows_fits_a_terminal_and_an_experiment_changes_one_parameter(copy: Path) -> None:
    output(copy, "dvc", "exp", "run", "--set-param", "train.lr=0.01", "--name", "slow")
    changes = output(copy, "git", "diff", "--unified=0", "params.yaml").splitlines()[4:]
    assert changes[1:] == ["-  lr: 0.1", "+  lr: 0.01"]
    page = (ROOT / "docs" / "dvc-and-mlflow.md").read_text(encoding="utf-8")
    for command in SHOWN:
        assert shlex.join(("dvc", *command)) in page
        printed = output(copy, "dvc", *command, COLUMNS="120")
        assert max(map(len, printed.splitlines())) <= 120, printed
        assert "…" not in printed
    columns = json.loads(output(copy, "dvc", "exp", "show", "--json"))[0]["data"]["metrics"]["results/lab/metrics.json"]
    assert set(columns["data"]) == {"plain", "batchnorm", "difference", "low", "high", "failed"}
    for name in ("plain", "batchnorm", "difference", "train.lr"):
        assert name in printed


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
def test_dvcs_plots_are_drawn_without_a_network(copy: Path) -> None:
    output(copy, "dvc", "plots", "show")
    page = (copy / "dvc_plots" / "index.html").as_uri()
    nowhere = "--host-resolver-rules=MAP * ~NOTFOUND"
    drawn = output(copy, str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", nowhere, "--dump-dom", page)
    lines = re.findall(r'<polyline points="([^"$]+)".*?stroke="([^"]+)"', drawn)  # not those of the script
    assert Counter(colour for _, colour in lines) == dict.fromkeys((COLOURS[variant] for variant in VARIANTS), 3)
    assert all("NaN" not in points for points, _ in lines)


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
