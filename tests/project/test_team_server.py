"""A team's server: MLflow on PostgreSQL, artifacts through it, two clients at once; all of it on loopback."""

import contextlib
import csv
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run

from pipeline.data import idx
from pipeline.data.images import read
from tools import sandbox
from tools.sandbox import SEEDS

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

STARTED = 60.0  # seconds that the server may take; it makes its tables first


@dataclass(frozen=True)
class Server:
    """Its address, and the folder in which it keeps artifacts."""

    url: str
    artifacts: Path

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.url)


def program(name: str) -> str:
    """A program of PostgreSQL's server, which Debian keeps out of PATH."""
    found = shutil.which(name) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
    return found or pytest.skip(f"PostgreSQL's {name} is not installed here")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A database of its own, and its address; as another user where root, which PostgreSQL refuses."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in ("postgres", "nobody") if name in names) if os.geteuid() == 0 else None
    password, port = secrets.token_hex(), free_port()
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        (Path(folder) / "password").write_text(password)
        if user:
            for path in (folder, f"{folder}/password"):
                shutil.chown(path, user)

        def run(*command: str) -> None:
            subprocess.run(command, user=user, cwd=folder, stdout=subprocess.DEVNULL, check=True)

        data = ("-D", f"{folder}/data")
        access = ("-U", "mlflow", "--pwfile", "password", "-A", "scram-sha-256")
        run(initdb, *data, *access, "--no-sync", "--encoding", "UTF8", "--no-locale")
        run(pg_ctl, *data, "-w", "-l", "log", "-o", f"-h 127.0.0.1 -p {port} -k {folder} -F", "start")
        try:
            yield f"postgresql://mlflow:{password}@127.0.0.1:{port}/postgres"
        finally:
            run(pg_ctl, *data, "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    found = Server(f"http://127.0.0.1:{port}", folder / "artifacts")
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", *arguments, "--artifacts-destination", str(found.artifacts)]
    with postgresql() as database, (folder / "log").open("wb") as log:
        given = {
            "MLFLOW_BACKEND_STORE_URI": database,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # saves seven processes
        }
        process = sandbox.start(folder, *command, log=log, **given)
        try:
            wait(process, found.url, folder / "log")
            yield found
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            mlflow.set_tracking_uri("")


def wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + STARTED
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def clients(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders: in one the pipeline has run, in the other a sweep, both at once."""
    folders = [sandbox.make(tmp_path_factory.mktemp("clients") / name) for name in ("pipeline", "sweep")]
    sweep = ["python", "-m", "pipeline", "sweep", "--grid", "lr=0.01,0.1", "--name", "rates"]
    commands = [["dvc", "repro", "train@batchnorm"], sweep]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda at: sandbox.output(folders[at], *commands[at], MLFLOW_TRACKING_URI=server.url), (0, 1)))
    return folders


def runs(server: Server, experiment: str) -> dict[str, Run]:
    """Every run of an experiment by its name; no name is there twice."""
    found = server.client.get_experiment_by_name(experiment)
    assert found
    listed = server.client.search_runs([found.experiment_id], max_results=1000)
    assert len({run.info.run_name for run in listed}) == len(listed)
    return {run.info.run_name: run for run in listed}


def test_the_pipelines_runs_are_whole(server: Server, clients: list[Path]) -> None:
    found = runs(server, "Default")
    train = "train@batchnorm"
    assert set(found) == {"download", train, *(f"{train} seed {seed}" for seed in SEEDS)}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    for curve in ("train_loss", "validation_accuracy", "validation_loss"):
        with (clients[0] / "runs" / "batchnorm" / f"{curve}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        steps = [int(next(iter(row.values()))) for row in rows]
        for name, column in ((train, "mean"), *((f"{train} seed {seed}", f"seed_{seed}") for seed in SEEDS)):
            points = server.client.get_metric_history(found[name].info.run_id, curve.replace("_", "/", 1))
            assert [point.step for point in points] == steps
            np.testing.assert_allclose([point.value for point in points], [float(row[column]) for row in rows])


def test_artifacts_went_through_the_server(server: Server, clients: list[Path], tmp_path: Path) -> None:
    run = runs(server, "Default")["train@batchnorm"]
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    for name in ("weights.safetensors", "histograms.safetensors", "settings.json"):
        path = Path(server.client.download_artifacts(run.info.run_id, f"training/{name}", str(tmp_path)))
        assert path.read_bytes() == (clients[0] / "runs" / "batchnorm" / name).read_bytes()
    assert list(server.artifacts.rglob("weights.safetensors"))
    for folder in clients:
        assert not (folder / "mlflow.db").exists()
        assert not (folder / "mlruns").exists()


def test_the_model_loads(server: Server, clients: list[Path]) -> None:
    run = runs(server, "Default")["train@batchnorm"]
    mlflow.set_tracking_uri(server.url)
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/batchnorm")
    images, labels = (
        read("custom", clients[0] / "data" / "custom").arrays[name] for name in (idx.TEST_IMAGES, idx.TEST_LABELS)
    )
    rows = (images.reshape(-1, 784) / 255).astype(np.float32)
    assert np.mean(model.predict(rows) == labels) == run.data.metrics["validation/accuracy_of_model"]


def test_the_sweeps_runs_are_whole(server: Server, clients: list[Path], tmp_path: Path) -> None:
    found = runs(server, "sweeps")
    points = {f"{variant} lr={lr}" for variant in ("plain", "batchnorm") for lr in ("0.01", "0.1")}
    seeds = {f"{point} seed {seed}" for point in points for seed in SEEDS}
    assert set(found) == {f"{name} [rates]" for name in {"summary", *points, *seeds}}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    table = Path(
        server.client.download_artifacts(found["summary [rates]"].info.run_id, "results/table.csv", str(tmp_path))
    )
    assert table.read_bytes() == (clients[1] / "sweeps" / "rates" / "table.csv").read_bytes()
    for name in points:
        for metric, steps in (("train/loss_of_epoch", [1, 2]), ("validation/accuracy", [0, 1, 2])):
            history = server.client.get_metric_history(found[f"{name} [rates]"].info.run_id, metric)
            assert [point.step for point in history] == steps
