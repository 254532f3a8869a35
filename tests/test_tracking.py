"""What tracking writes, read back from a store with MLflow's own client."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from closure import ROOT
from mlflow.entities import Run as Stored

from pipeline import tracking
from pipeline.errors import UserError

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

CLEAR = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME", "DVC_STAGE")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, made once because making its tables takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def store(database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mlflow.MlflowClient]:
    for name in CLEAR:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}/mlflow.db")
    yield mlflow.MlflowClient(f"sqlite:///{database}/mlflow.db")
    mlflow.set_tracking_uri("")


def stored(store: mlflow.MlflowClient, run: tracking.Run) -> Stored:
    return store.get_run(run.run_id)


def test_metrics_params_and_tags_come_back(store: mlflow.MlflowClient) -> None:
    points = [(step, 1 / (step + 1)) for step in range(2500)]
    with tracking.start("train@plain", {"stage": "train@plain"}) as run:
        run.metrics({"train/loss": points, "validation/accuracy": [(5, 0.5)]})
        run.params({"train.lr": 0.1, "train.seeds": (0, 1), "data.directory": None, "model.activation": "tanh"})
        run.tags({"digest.data": "abc"})
    history = store.get_metric_history(run.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == points
    found = stored(store, run)
    assert found.data.metrics["validation/accuracy"] == 0.5
    assert found.data.params == {
        "train.lr": "0.1",
        "train.seeds": "0,1",
        "model.activation": "tanh",
    }
    assert found.data.tags["digest.data"] == "abc"
    assert found.info.run_name == "train@plain"
    assert found.info.status == "FINISHED"


def test_requests_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    with tracking.start("r", {}) as run:
        calls: list[int] = []
        monkeypatch.setattr(run.client, "log_batch", lambda _, metrics: calls.append(len(metrics)))
        run.metrics({f"m{at}": [(step, 0.0) for step in range(150)] for at in range(10)})
    assert calls == [1000, 500]


def test_a_parameter_that_mlflow_run_logged_is_left_alone(
    store: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = store.create_run("0")
    store.log_param(started.info.run_id, "train.lr", "1e-2")
    monkeypatch.setenv("MLFLOW_RUN_ID", started.info.run_id)
    with tracking.start("train@plain", {"stage": "train@plain"}) as run:
        run.params({"train.lr": 0.01, "train.epochs": 5})
    assert run.run_id == started.info.run_id
    found = stored(store, run)
    assert found.data.params == {"train.lr": "1e-2", "train.epochs": "5"}
    assert found.data.tags["stage"] == "train@plain"
    assert found.info.run_name == f"train@plain [{started.info.run_name}]"
    assert found.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")]
)
def test_a_run_ends(store: mlflow.MlflowClient, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), tracking.start("parent", {}) as run:
        raise error
    assert stored(store, run).info.status == status


def test_a_child_is_logged_whole(store: mlflow.MlflowClient) -> None:
    points = [(step, float(step)) for step in range(1500)]
    with tracking.start("parent", {"sweep": "s"}) as run:
        child = run.child("seed 3", {"seed": 3, "data.directory": None}, {"train/loss": points})
        bare = run.child("seed 4", {"seed": 4}, {})
    found = stored(store, child)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "seed 3"
    assert found.data.params == {"seed": "3"}
    assert found.data.tags["mlflow.parentRunId"] == run.run_id
    assert found.data.tags["sweep"] == "s"
    history = store.get_metric_history(child.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == points
    assert stored(store, bare).data.params == {"seed": "4"}


def test_an_experiment_of_its_own(store: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    started = store.create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", started.info.run_id)
    with tracking.start("point", {tracking.OUTPUTS_TAG: "d2"}, "sweeps") as run:
        pass
    assert run.run_id != started.info.run_id
    assert store.get_experiment(run.experiment_id).name == "sweeps"
    assert tracking.recorded("d2", "sweeps")
    assert not tracking.recorded("d2")


def test_sigterm_ends_a_run_as_killed(store: mlflow.MlflowClient) -> None:
    program = """
        import signal, time
        from pipeline import cli, tracking
        signal.signal(signal.SIGTERM, cli._stop)
        with tracking.start("terminated", {}) as run:
            print(run.run_id, flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout
        run_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert store.get_run(run_id).info.status == "KILLED"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_images_files_and_datasets_come_back(store: mlflow.MlflowClient, tmp_path: Path) -> None:
    (tmp_path / "answer.md").write_text("42", encoding="utf-8")
    digest = "0123456789abcdef" * 4
    with tracking.start("r", {}) as run:
        for step in (0, 1):
            run.image("activation_histograms", step, np.full((4, 6, 3), 255, np.uint8))
        run.files([tmp_path / "answer.md"], "results")
        run.text("0123  images\n", "sha256sums.txt")
        run.dataset("mnist", digest, "training", '{"train": 60000}')
    images = [file.path for file in store.list_artifacts(run.run_id, "images")]
    assert sorted(name.split("+")[2] for name in images if name.endswith(".png")) == ["0", "1"]
    assert all(Path(name).name.startswith("activation_histograms+step+") for name in images)
    assert [file.path for file in store.list_artifacts(run.run_id, "results")] == ["results/answer.md"]
    inputs = stored(store, run).inputs
    assert inputs
    assert mlflow.artifacts.load_text(f"{stored(store, run).info.artifact_uri}/sha256sums.txt") == "0123  images\n"
    (entry,) = inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("mnist", digest[:12])
    assert entry.dataset.source == digest
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "training")]


def test_recorded_finds_finished_runs_alone(store: mlflow.MlflowClient) -> None:
    assert not tracking.recorded("d1")
    with contextlib.suppress(ValueError), tracking.start("r", {}) as run:
        run.tags({tracking.OUTPUTS_TAG: "d1"})
        raise ValueError("half way")
    assert not tracking.recorded("d1")
    with tracking.start("r", {}) as run:
        run.tags({tracking.OUTPUTS_TAG: "d1"})
    assert tracking.recorded("d1")
    store.delete_run(run.run_id)
    assert not tracking.recorded("d1")


def test_runs_link_to_dvc(store: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "gummy-loaf")
    monkeypatch.setenv("DVC_STAGE", "train@plain")
    with tracking.start("train@plain", {}) as run:
        pass
    found = stored(store, run)
    assert found.info.run_name == "train@plain [gummy-loaf]"
    assert found.data.tags["dvc.exp_name"] == "gummy-loaf"
    assert found.data.tags["dvc.stage"] == "train@plain"


def test_runs_link_to_git(store: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org"]
    monkeypatch.chdir(tmp_path)
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    with tracking.start("clean", {}) as clean:
        pass
    (tmp_path / "new").write_text("", encoding="utf-8")
    with tracking.start("dirty", {}) as dirty:
        pass
    for run, answer in ((clean, "false"), (dirty, "true")):
        assert stored(store, run).data.tags["mlflow.source.git.commit"] == head
        assert stored(store, run).data.tags["git.dirty"] == answer


def test_the_store_is_beside_the_root_that_dvc_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    assert tracking.uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert tracking.uri() == "sqlite:////elsewhere/mlflow.db"


def test_a_named_experiment_is_made(store: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "course")
    with tracking.start("r", {}) as run:
        pass
    assert store.get_experiment(run.experiment_id).name == "course"


def test_an_experiment_that_another_client_has_just_made(
    store: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store.create_experiment("at once")
    find = mlflow.MlflowClient.get_experiment_by_name
    answers = [lambda *_: None, find]
    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", lambda *given: answers.pop(0)(*given))
    with tracking.start("r", {}, "at once") as run:
        assert run.experiment_id == made


def test_an_unusable_store_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database, whatever it says" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(UserError) as caught, tracking.start("r", {}):
        pass
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"MLflow at sqlite:///{tmp_path}/mlflow.db: ")
