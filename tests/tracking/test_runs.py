"""What tracking writes, read back from a store with MLflow's own client."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run as Stored

from pipeline.tracking import runs
from tools.sandbox import ROOT, environment

pytestmark = [
    pytest.mark.usefixtures("client"),
    pytest.mark.filterwarnings("default"),  # MLflow and SQLAlchemy warn of each other
]


def stored(client: mlflow.MlflowClient, run: runs.Run) -> Stored:
    return client.get_run(run.run_id)


def test_metrics_params_and_tags_come_back(client: mlflow.MlflowClient) -> None:
    points = [(step, 1 / (step + 1)) for step in range(2500)]
    with runs.start_run("train@plain", {"stage": "train@plain"}) as run:
        run.log_metrics({"train/loss": points, "validation/accuracy": [(5, 0.5)]})
        run.log_params({"train.lr": 0.1, "train.seeds": (0, 1), "data.directory": None, "model.activation": "tanh"})
        run.set_tags({"digest.data": "abc"})
    history = client.get_metric_history(run.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == points
    found = stored(client, run)
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
    with runs.start_run("r", {}) as run:
        calls: list[int] = []
        monkeypatch.setattr(run.client, "log_batch", lambda _, metrics: calls.append(len(metrics)))
        run.log_metrics({f"m{at}": [(step, 0.0) for step in range(150)] for at in range(10)})
    assert calls == [1000, 500]


def test_a_parameter_that_mlflow_run_logged_is_left_alone(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = client.create_run("0")
    client.log_param(started.info.run_id, "train.lr", "1e-2")
    monkeypatch.setenv("MLFLOW_RUN_ID", started.info.run_id)
    with runs.start_run("train@plain", {"stage": "train@plain"}) as run:
        run.log_params({"train.lr": 0.01, "train.epochs": 5})
    assert run.run_id == started.info.run_id
    found = stored(client, run)
    assert found.data.params == {"train.lr": "1e-2", "train.epochs": "5"}
    assert found.data.tags["stage"] == "train@plain"
    assert found.info.run_name == f"train@plain [{started.info.run_name}]"
    assert found.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")]
)
def test_a_run_ends(client: mlflow.MlflowClient, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), runs.start_run("parent", {}) as run:
        raise error
    assert stored(client, run).info.status == status


def test_a_child_is_logged_whole(client: mlflow.MlflowClient) -> None:
    points = [(step, float(step)) for step in range(1500)]
    with runs.start_run("parent", {"sweep": "s"}) as run:
        run.log_child("seed 3", {"seed": 3, "data.directory": None}, {"train/loss": points})
        run.log_child("seed 4", {"seed": 4}, {})
    bare, found = client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{run.run_id}'")
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "seed 3"
    assert found.data.params == {"seed": "3"}
    assert found.data.tags["mlflow.parentRunId"] == run.run_id
    assert found.data.tags["sweep"] == "s"
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == points
    assert bare.data.params == {"seed": "4"}


def test_sigterm_ends_a_run_as_killed(client: mlflow.MlflowClient) -> None:
    program = """
        import signal, time
        from pipeline.tracking import runs
        from pipeline import cli
        signal.signal(signal.SIGTERM, cli._stop)
        with runs.start_run("terminated", {}) as run:
            print(run.run_id, flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(PYTHONPATH=str(ROOT))) as process:
        assert process.stdout
        run_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert client.get_run(run_id).info.status == "KILLED"


def test_images_files_and_datasets_come_back(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    (tmp_path / "answer.md").write_text("42", encoding="utf-8")
    digest = "0123456789abcdef" * 4
    with runs.start_run("r", {}) as run:
        for step in (0, 1):
            run.log_image("activation_histograms", step, np.full((4, 6, 3), 255, np.uint8))
        run.log_artifacts([tmp_path / "answer.md"], "results")
        run.log_text("0123  images\n", "sha256sums.txt")
        run.log_input("mnist", digest, "training", '{"train": 60000}')
    images = [file.path for file in client.list_artifacts(run.run_id, "images")]
    assert sorted(name.split("+")[2] for name in images if name.endswith(".png")) == ["0", "1"]
    assert all(Path(name).name.startswith("activation_histograms+step+") for name in images)
    assert [file.path for file in client.list_artifacts(run.run_id, "results")] == ["results/answer.md"]
    inputs = stored(client, run).inputs
    assert inputs
    assert mlflow.artifacts.load_text(f"{stored(client, run).info.artifact_uri}/sha256sums.txt") == "0123  images\n"
    (entry,) = inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("mnist", digest[:12])
    assert entry.dataset.source == digest
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "training")]


def test_runs_link_to_dvc(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "gummy-loaf")
    monkeypatch.setenv("DVC_STAGE", "train@plain")
    with runs.start_run("train@plain", {}) as run:
        pass
    found = stored(client, run)
    assert found.info.run_name == "train@plain [gummy-loaf]"
    assert found.data.tags["dvc.exp_name"] == "gummy-loaf"
    assert found.data.tags["dvc.stage"] == "train@plain"


def test_runs_link_to_git(client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *arguments], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    with runs.start_run("clean", {}) as clean:
        pass
    (tmp_path / "new").write_text("", encoding="utf-8")
    with runs.start_run("dirty", {}) as dirty:
        pass
    for run, answer in ((clean, "false"), (dirty, "true")):
        assert stored(client, run).data.tags["mlflow.source.git.commit"] == head
        assert stored(client, run).data.tags["git.dirty"] == answer
