"""What goes wrong on purpose: killed commands, stores that are damaged or gone, a full disk, many writers at once.

`make faults` does the same for longer.
"""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.records import sweeps as sweep_records
from pipeline.tracking import errors, process, sqlite, store
from pipeline.tracking.provenance import PROCESS_TAG
from pipeline.training.history import load_history
from tests.samples import enter
from tools import sandbox
from tools.faults import kills, project
from tools.faults.kills import Bench, Undisturbed

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

SWEEP = ("sweep", "--grid", "lr=0.01,0.1", "--name", "small")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """What every test starts from, made once because making a store takes seconds."""
    return Bench(tmp_path_factory.mktemp("bench").resolve())


@pytest.fixture
def folder(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with images and a store in which nothing is recorded, entered."""
    made = bench.fresh("train", store=True)
    enter(made, monkeypatch)
    stops = {number: signal.getsignal(number) for number in process.STOP_SIGNALS}
    yield made
    for number, handler in stops.items():
        signal.signal(number, handler)
    mlflow.set_tracking_uri("")
    shutil.rmtree(made.parent)


@pytest.fixture(scope="module")
def wanted(bench: Bench) -> dict[str, Undisturbed]:
    """What commands leave where nothing disturbs them."""
    found = {}
    for command in ("train", "run", "sweep"):
        folder = bench.fresh(command, store=True)
        with pytest.MonkeyPatch.context() as patch:
            enter(folder, patch)
            done(*kills.COMMANDS[command][3:])
        found[command] = Undisturbed(0.0, project.outputs(folder), project.records(folder))
    return found


def pipeline(*arguments: str) -> Result:
    """Do a command, as a process of its own would: it looks for what the dead have left."""
    store._end_orphaned_runs.cache_clear()
    return CliRunner().invoke(main, arguments)


def done(*arguments: str) -> Result:
    result = pipeline(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refusal(*arguments: str) -> str:
    """The one line with which a command ends; results of earlier ones may not have changed."""
    before = project.outputs(Path.cwd())
    result = pipeline(*arguments)
    assert result.exit_code == 2, result.output
    assert project.outputs(Path.cwd()) == before
    assert project.leftovers(Path.cwd()) == []
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in result.stderr
    return line.removeprefix("Error: ")


def client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")


def status(run_id: str) -> str:
    return str(client().get_run(run_id).info.status)


# Kills


def test_killed_commands_are_recovered(bench: Bench) -> None:
    cases = [("sweep", "SIGKILL", 1), ("sweep", "SIGTERM", 2), ("train with workers", kills.A_WORKER, 3)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda case: bench.kill(*case), cases))
    assert [fault.problems for fault in found] == [(), (), ()]


def test_a_comparison_notices_what_was_lost(wanted: dict[str, Undisturbed], folder: Path) -> None:
    undisturbed = wanted["train"]
    done("train", "batchnorm")
    assert kills._compare(folder, undisturbed, 0, "", again=False) == []
    (folder / "runs" / "batchnorm" / "metrics.json").write_text("{}", encoding="utf-8")
    (folder / "runs" / ".a.part").write_text("", encoding="utf-8")
    client().create_run("0")
    done("train", "batchnorm")
    (folder / "runs" / "batchnorm" / "metrics.json").write_text("{}", encoding="utf-8")
    assert kills._compare(folder, undisturbed, 2, "", again=False) == [
        "the same command again ended with 2: ",
        "other outputs than undisturbed: runs/.a.part, runs/batchnorm/metrics.json",
        "1 runs stay RUNNING",
        "2 finished records, expected 1 like them",
        "left behind: runs/.a.part",
    ]


@pytest.mark.usefixtures("folder")
def test_runs_of_the_dead_are_ended_by_the_next_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from pipeline.tracking import process; print(process.identity())"],
        capture_output=True,
        text=True,
        check=True,
        env=sandbox.environment(),
    ).stdout.strip()
    elsewhere = "another" + ended
    store = client()
    parent = store.create_run("0", tags={PROCESS_TAG: ended}).info.run_id
    child = store.create_run("0", tags={PROCESS_TAG: ended, "mlflow.parentRunId": parent}).info.run_id
    other = store.create_run(store.create_experiment("other"), tags={PROCESS_TAG: ended}).info.run_id
    living = [
        store.create_run("0", tags=tags).info.run_id
        for tags in ({PROCESS_TAG: process.identity()}, {PROCESS_TAG: elsewhere}, {PROCESS_TAG: "?"}, {})
    ]
    done("download")
    assert [status(run) for run in (parent, child, other)] == ["KILLED"] * 3
    assert [status(run) for run in living] == ["RUNNING"] * 4


def test_a_run_that_mlflow_started_and_nobody_took_up_is_ended(folder: Path) -> None:
    run = client().create_run("0", tags={"mlflow.project.entryPoint": "main"}).info.run_id
    holder = "import sqlite3, sys; store = sqlite3.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(folder / "mlflow.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        client().update_run(run, status="RUNNING")
        with sqlite3.connect(folder / "mlflow.db") as store:
            store.execute("UPDATE runs SET start_time = ?", (int(time.time() * 1000) + 1000,))
        done("download")
        assert status(run) == "RUNNING", "who holds the store may be the `mlflow run` that started it"
        process.communicate()
    done("download")
    assert status(run) == "KILLED"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("moment", ["create_run", "set_terminated"])
def test_a_signal_between_a_runs_making_and_its_end_waits(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    inner: Callable[..., object] = getattr(mlflow.MlflowClient, moment)
    runs: list[str] = []

    def signalled(self: mlflow.MlflowClient, *given: object, **more: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        return inner(self, *given, **more)

    monkeypatch.setattr(mlflow.MlflowClient, moment, signalled)
    assert pipeline("download").exit_code == 128 + signal.SIGTERM
    runs = [run.info.status for run in client().search_runs(["0"])]
    assert runs == ["KILLED" if moment == "create_run" else "FINISHED"]


@pytest.mark.usefixtures("folder")
def test_a_stage_that_dvc_runs_again_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done("train", "plain")
    monkeypatch.setenv("DVC_STAGE", "train@plain")
    monkeypatch.setenv("DVC_ROOT", str(Path.cwd()))
    for _ in range(2):
        done("train", "plain")
    by_dvc = list(client().search_runs(["0"], "tags.`dvc.stage` = 'train@plain'"))
    assert len([run for run in by_dvc if "mlflow.parentRunId" not in run.data.tags]) == 1
    assert len(by_dvc) == 1 + len(sandbox.SEEDS)
    assert len(client().search_runs(["0"])) == 2 * (1 + len(sandbox.SEEDS)), "what was started by hand is not DVC's"
    assert len(client().search_logged_models(["0"])) == 2
    monkeypatch.setenv("DVC_ROOT", str(Path.cwd().parent))
    done("train", "plain")
    assert len(client().search_runs(["0"])) == 3 * (1 + len(sandbox.SEEDS)), "another copy of the project is another's"


# Stores


@pytest.mark.parametrize(
    "tables", ["", "DELETE FROM experiments; UPDATE alembic_version SET version_num = '451aebb31d03'"]
)
def test_a_store_that_a_killed_process_has_half_made_is_made_anew(folder: Path, tables: str) -> None:
    path = folder / "mlflow.db"
    if not tables:
        path.write_bytes(b"")
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.executescript(tables)
    assert not sqlite._is_whole(path)
    done("download")
    assert project.statuses(folder) == {"FINISHED": 1}


def test_another_database_is_left_alone(folder: Path) -> None:
    with sqlite3.connect(folder / "other.db") as other:
        other.execute("CREATE TABLE notes (text TEXT)")
    assert sqlite._is_whole(folder / "other.db")


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database, whatever it says" * 100)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10_000])


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "command"),
    [(garbage, SWEEP), (garbage, ("train", "plain")), (truncated, SWEEP), (folder_instead, ("train", "plain"))],
)
def test_a_damaged_store_is_one_line(folder: Path, damage: Callable[[Path], None], command: Sequence[str]) -> None:
    damage(folder / "mlflow.db")
    line = refusal(*command)
    assert line.startswith(f"MLflow at sqlite:///{folder}/mlflow.db: "), line


@pytest.mark.usefixtures("folder")
def test_a_server_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for command in (("train", "plain"), SWEEP, ("run", "--batchnorm", "true")):
        assert refusal(*command).startswith(f"MLflow at {address}: ")


@contextlib.contextmanager
def deaf(*, silent: bool) -> Iterator[tuple[str, list[socket.socket]]]:
    """A server's address, and the connections that it has got: it hangs up on them, or never says a word."""
    came: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                came.append(listener.accept()[0])
                if not silent:
                    came[-1].close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", came
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in came:
        connection.close()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("silent", [False, True])
def test_a_server_that_does_not_answer_is_asked_twice(monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    with deaf(silent=silent) as (address, came):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # what the user sets holds
        assert refusal("download").startswith(f"MLflow at {address}: ")
        assert len(came) == 2
    assert len(came) * int(errors.BRIEF["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10  # seconds


class Outage:
    """A store that goes away with a call of `method`, the first or a later one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, after: int) -> None:
        self.left = after
        self.gone = False
        for name in ("log_batch", "log_inputs", "log_artifact", "log_image", "create_run", "set_terminated"):
            inner = getattr(mlflow.MlflowClient, name)
            monkeypatch.setattr(mlflow.MlflowClient, name, self.broken(inner, counts=name == method))

    def broken(self, inner: Callable[..., object], *, counts: bool) -> Callable[..., object]:
        def method(*given: object, **more: object) -> object:
            if counts:
                self.left -= 1
                self.gone = self.gone or self.left == 0
            if self.gone:
                raise OSError("the store is gone")
            return inner(*given, **more)

        return method


@pytest.mark.parametrize("command", [("train", "batchnorm"), ("run", "--batchnorm", "true")])
def test_a_record_that_cannot_be_sent_is_sent_by_the_next_command_once(
    wanted: dict[str, Undisturbed], folder: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    with monkeypatch.context() as patch:
        Outage(patch, "log_inputs", 1)
        told = done(*command).stderr
    assert "train@batchnorm: done, but not recorded: MLflow at " in told
    assert "the store is gone; its record is kept, and the next command sends it\n" in told
    assert project.outputs(folder) == wanted[command[0]].outputs
    assert project.records(folder) == {}
    shutil.rmtree(folder / "runs", ignore_errors=True)  # what was kept needs nothing else
    assert "train@batchnorm: recorded in MLflow, which an earlier command could not do\n" in done("download").stdout
    done("download")
    found = {text: count for text, count in project.records(folder).items() if not text.startswith("download ")}
    assert found == wanted[command[0]].records
    assert list((folder / "mlruns" / "unsent").iterdir()) == []


def test_a_record_that_was_sent_though_its_sender_was_killed_is_not_sent_again(
    wanted: dict[str, Undisturbed], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Outage(patch, "log_inputs", 1)
        done("train", "batchnorm")

    kept = folder / "mlruns" / "unsent"
    shutil.copytree(kept, folder / "copy")
    done("download")
    shutil.copytree(folder / "copy", kept, dirs_exist_ok=True)  # as if the process had ended before it took this away
    done("download")
    found = {text: count for text, count in project.records(folder).items() if not text.startswith("download ")}
    assert found == wanted["train"].records
    assert list(kept.iterdir()) == []


@pytest.mark.usefixtures("folder")
def test_inside_mlflow_run_a_record_that_is_kept_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    run = client().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run)
    Outage(monkeypatch, "log_inputs", 1)
    assert "its record is kept, and the next command sends it" in refusal("run", "--batchnorm", "true")


def test_a_sweep_goes_on_without_its_store_and_records_later(
    wanted: dict[str, Undisturbed], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Outage(patch, "log_batch", 8)
        result = pipeline(*SWEEP)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    (told,) = [line for line in lines if "continues" in line]
    assert re.fullmatch(r"small: continues, and records its points later: MLflow at \S+: the store is gone", told)
    assert lines[-1].startswith("Error: small: its results are whole, in sweeps/small, but not all is recorded: ")
    assert project.outputs(folder) == wanted["sweep"].outputs
    assert "0 still to train" in done(*SWEEP).stdout
    assert project.outputs(folder) == wanted["sweep"].outputs
    assert project.records(folder) == wanted["sweep"].records


def test_a_store_that_comes_back_gets_all_points_at_the_sweeps_end(
    wanted: dict[str, Undisturbed], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(monkeypatch, "log_batch", 8)
    inner = sweep_records.Recorder.finish

    def back(*given: object) -> None:
        outage.gone = False
        inner(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(sweep_records.Recorder, "finish", back)
    done(*SWEEP)
    assert project.records(folder) == wanted["sweep"].records


# Disks and files


def test_a_full_disk_is_one_line_and_earlier_results_stay(folder: Path) -> None:
    done("train", "plain")
    before = project.outputs(folder)
    limit = max(path.stat().st_size for path in folder.rglob("*") if path.is_file()) + 500_000  # the store must fit
    hidden = f"{limit // 784 // 4},5"  # and the weights of two seeds must not

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = ["python", "-m", "pipeline", "train", "plain", "--hidden", hidden, "--epochs", "1"]
    ended = subprocess.run(
        command, env=sandbox.environment(), capture_output=True, text=True, check=False, preexec_fn=full
    )
    assert ended.returncode == 2, ended.stderr
    line = "Error: runs/.plain.part/weights.safetensors: cannot be written: File too large"
    assert ended.stderr.splitlines()[-1] == line
    assert "Traceback" not in ended.stderr
    assert project.outputs(folder) == before
    assert project.leftovers(folder) == []
    assert project.statuses(folder)["RUNNING"] == 0


# Root may write anywhere, unless it gives its powers away.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


@pytest.mark.skipif(bool(POWERLESS) and not shutil.which("setpriv"), reason="root can be refused by setpriv alone")
@pytest.mark.parametrize(
    ("name", "command", "told"),
    [
        (".", ("train", "plain"), "MLflow at sqlite:///"),
        ("mlflow.db", ("train", "plain"), "MLflow at sqlite:///"),
        ("runs", ("train", "plain"), "runs/.plain.part"),
        ("sweeps", SWEEP, "sweeps/small"),
        ("mlruns", ("train", "plain"), "mlruns/unsent/"),
        ("data/custom", ("train", "plain"), ""),
    ],
)
def test_what_can_only_be_read_is_one_line_or_enough(
    folder: Path, name: str, command: tuple[str, ...], told: str
) -> None:
    if name in ("runs", "sweeps", "mlruns"):
        (folder / name).mkdir(exist_ok=True)
    (folder / name).chmod(0o555)
    words = [*POWERLESS, "python", "-m", "pipeline", *command]
    ended = subprocess.run(words, env=sandbox.environment(), capture_output=True, text=True, check=False)
    (folder / name).chmod(0o755)
    assert project.statuses(folder)["RUNNING"] == 0
    assert project.leftovers(folder) == []
    assert "Traceback" not in ended.stderr
    assert [told in line for line in ended.stderr.splitlines() if line.startswith("Error: ")] == [True] * bool(told)
    assert ended.returncode == (2 if told else 0)


@pytest.mark.parametrize(("name", "command"), [("runs", ("train", "plain")), ("sweeps", SWEEP)])
def test_a_folder_that_cannot_be_written_is_one_line(folder: Path, name: str, command: tuple[str, ...]) -> None:
    (folder / name).write_text("in the way", encoding="utf-8")
    assert refusal(*command).startswith(f"{name}/")
    assert project.statuses(folder)["RUNNING"] == 0


def test_artifacts_that_cannot_be_written_are_one_line(folder: Path) -> None:
    (folder / "mlruns").write_text("in the way", encoding="utf-8")
    result = pipeline("train", "plain")
    assert result.exit_code == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: train@plain: done, but not recorded: MLflow at ")
    assert re.search(r"; nor can its record be kept: \S+/mlruns/unsent/\S+: .*Not a directory", line)
    assert project.statuses(folder)["RUNNING"] == 0


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(("place", "stage"), [("images", None), ("data/custom", "train@plain")])
def test_a_truncated_data_file_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str, stage: str | None
) -> None:
    if stage:  # which reads the copy that DVC tracks
        monkeypatch.setenv("DVC_STAGE", stage)
    path = folder / place / name
    path.write_bytes(path.read_bytes()[:-1])
    for command in (("train", "plain"), SWEEP, ("evaluate",)):
        assert f"{name}: truncated: expected" in refusal(*command)


def test_a_tampered_file_of_a_known_data_set_is_one_line(folder: Path) -> None:
    shutil.copytree(folder / "data" / "custom", folder / "data" / "mnist")
    for command in (("train", "plain"), ("sweep", "--grid", "lr=0.1"), ("evaluate",)):
        line = refusal(*command, "--dataset", "mnist")
        assert line.startswith("data/mnist/train-images-idx3-ubyte: not MNIST's by its SHA-256"), line


@pytest.mark.parametrize("left", [0, 100])
def test_a_damaged_outcome_is_trained_again(wanted: dict[str, Undisturbed], folder: Path, left: int) -> None:
    done(*SWEEP)
    path = min((folder / "sweeps" / ".outcomes").glob("*/*.safetensors"))
    path.write_bytes(path.read_bytes()[:left])
    assert "8 networks in 4 populations, 1 still to train (2 networks)" in done(*SWEEP).stdout
    assert project.outputs(folder) == wanted["sweep"].outputs
    assert project.records(folder) == wanted["sweep"].records


def test_a_damaged_training_is_one_line(folder: Path) -> None:
    for variant in ("plain", "batchnorm"):
        done("train", variant)
    path = folder / "runs" / "plain" / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert refusal("evaluate").startswith("runs/plain/weights.safetensors: cannot be read")
    path.write_bytes(whole)
    (folder / "runs" / "plain" / "moments.csv").write_text("epoch\n", encoding="utf-8")
    assert refusal("evaluate").startswith("runs/plain: not a complete training")
    assert load_history(Path("runs/batchnorm"))


# Many at once


def test_many_writers_of_a_new_store_lose_nothing(folder: Path) -> None:
    (folder / "mlflow.db").unlink()
    writer = """
from pipeline.tracking import runs
with runs.start_run("parent", {}) as run:
    for part in range(10):
        run.log_metrics({f"m{part}": [(step, float(step)) for step in range(300)]})
        run.log_child("child", {"part": part}, {"m": [(step, 0.0) for step in range(100)]})
"""
    command = [sys.executable, "-c", writer]
    started = [
        subprocess.Popen(command, env=sandbox.environment(), stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    ends = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 3, ends
    assert not any("locked" in end or "Traceback" in end for end in ends), ends
    with sqlite3.connect(folder / "mlflow.db") as store:
        assert store.execute("SELECT count(*) FROM metrics").fetchone() == (3 * 10 * (300 + 100),)
        assert store.execute("SELECT status, count(*) FROM runs GROUP BY 1").fetchall() == [("FINISHED", 3 * 11)]
