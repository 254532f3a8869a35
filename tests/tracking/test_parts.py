"""Parts of a record are independent: what a store refuses is named and left out, and the rest is whole."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.protos import databricks_pb2

from pipeline.tracking import outbox, runs
from pipeline.tracking.stage import stage_run
from tests.refusals import refuse, write_package, zeros

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_package(tmp_path, monkeypatch)


def log_model(run: runs.Run, package: Path) -> None:
    run.log_model(zeros(package))


def test_a_model_has_its_own_metrics_whatever_its_run_has(client: mlflow.MlflowClient, package: Path) -> None:
    with runs.start_run("r", {}) as run:
        run.log_params({"lr": 0.1})
        run.log_metrics({"loss": [(0, 1.0), (1, 0.5)]})
        log_model(run, package)
    found = client.get_run(run.run_id)
    assert found.outputs
    (output,) = found.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert {metric.key: metric.value for metric in model.metrics or []} == {"accuracy_of_model": 0.75}
    assert (model.params, model.status.value, model.name) == ({"lr": "0.1"}, "READY", "zeros")
    loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    assert loaded.predict(np.zeros((4, 3), np.float32)).tolist() == [0] * 4
    assert loaded.metadata.run_id == run.run_id


def test_what_a_server_refuses_is_left_out(
    client: mlflow.MlflowClient,
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("large.bin", "small.csv"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    with monkeypatch.context() as patch:
        refuse(patch, "create_logged_model")
        refuse(patch, "log_artifact", "large.bin")
        refuse(patch, "log_image")
        with stage_run("prepare") as run:
            log_model(run, package)
            for step in range(3):
                run.log_image("histogram", step, np.zeros((4, 6, 3), np.uint8))
            run.log_artifacts([tmp_path / "large.bin", tmp_path / "small.csv"], "results")
            run.log_metrics({"loss": [(0, 1.0)]})
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["not recorded", what] for what in ("the model", "pictures", "results/large.bin")
    ]
    found = client.get_run(run.run_id)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"loss": 1.0})
    assert [file.path for file in client.list_artifacts(run.run_id, "results")] == ["results/small.csv"]
    assert not outbox.OUTBOX.exists()


def test_of_parameters_only_those_that_are_too_long_are_left_out(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = mlflow.MlflowClient.log_batch

    def older(self: mlflow.MlflowClient, run_id: str, **given: Any) -> None:
        if any(len(param.value) > 500 for param in given.get("params", ())):
            raise mlflow.MlflowException("too long", databricks_pb2.INVALID_PARAMETER_VALUE)
        inner(self, run_id, **given)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", older)
    with runs.start_run("r", {}) as run:
        run.log_params({"lr": 0.1, "seeds": tuple(range(300)), "epochs": 5})
    assert client.get_run(run.run_id).data.params == {"lr": "0.1", "epochs": "5"}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("not recorded: parameter seeds: MLflow at ")


def test_a_record_that_is_sent_later_lacks_what_is_refused_then(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch, stage_run("prepare") as run:
        patch.setattr(mlflow.MlflowClient, "log_batch", lambda *_, **__: (_ for _ in ()).throw(OSError("gone")))
        run.log_metrics({"loss": [(0, 1.0)]})
        run.log_text("1", "a.txt")
    with monkeypatch.context() as patch:
        refuse(patch, "log_text")
        outbox.send()
    (sent,) = client.search_runs(["0"], f"tags.{outbox.RESENT_TAG} = '{run.run_id}'")
    assert (sent.info.status, sent.data.metrics) == ("FINISHED", {"loss": 1.0})
    assert list((tmp_path / outbox.OUTBOX).iterdir()) == []


@pytest.mark.parametrize("gone", ["deleted", "purged"])
def test_a_record_whose_experiment_was_deleted_is_sent_to_the_current_one(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", gone)
        with stage_run("prepare") as run:
            patch.setattr(mlflow.MlflowClient, "log_text", lambda *_, **__: (_ for _ in ()).throw(OSError("gone")))
            run.log_text("1", "a.txt")
    (record,) = (tmp_path / outbox.OUTBOX).glob("*/record.json")
    experiment = json.loads(record.read_text(encoding="utf-8"))["experiment"]
    client.delete_experiment(experiment)
    if gone == "purged":  # as `mlflow gc` leaves it: there is no such experiment any more
        record.write_text(record.read_text(encoding="utf-8").replace(f'"{experiment}"', '"9999"'), encoding="utf-8")
    outbox.send()
    (sent,) = client.search_runs(["0"], f"tags.{outbox.RESENT_TAG} = '{run.run_id}'")
    assert sent.info.status == "FINISHED"


def test_a_record_that_is_kept_in_a_folder_that_is_renamed_is_sent_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    monkeypatch.chdir(tmp_path / "old")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with monkeypatch.context() as patch, stage_run("prepare") as run:
        patch.setattr(mlflow.MlflowClient, "log_text", lambda *_, **__: (_ for _ in ()).throw(OSError("gone")))
        run.log_text("1", "a.txt")
    monkeypatch.chdir((tmp_path / "old").rename(tmp_path / "new"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # MLflow has set it, for the processes that this one may start
    outbox.send()
    (written,) = tmp_path.rglob("a.txt")
    assert tmp_path / "new" / "mlruns" / "0" in written.parents
    mlflow.set_tracking_uri("")


class Monitor:
    """In place of MLflow's, which logs every ten seconds."""

    seen: list[str]

    def __init__(self, run_id: str, **_: object) -> None:
        Monitor.seen.append(run_id)

    def start(self) -> None:
        Monitor.seen.append("start")

    def finish(self) -> None:
        Monitor.seen.append("finish")


@pytest.mark.usefixtures("client")
def test_mlflows_switch_logs_the_machines_load(monkeypatch: pytest.MonkeyPatch) -> None:
    Monitor.seen = []
    monkeypatch.setattr("pipeline.tracking.stage.SystemMetricsMonitor", Monitor)
    with stage_run("prepare"):
        pass
    assert Monitor.seen == []
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    with pytest.raises(ValueError, match="half way"), stage_run("prepare") as run:
        raise ValueError("half way")
    assert Monitor.seen == [run.run_id, "start", "finish"]


def test_the_real_monitor_logs_to_the_run(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with stage_run("prepare") as run:
        for _ in range(600):
            if client.get_run(run.run_id).data.metrics:
                break
    assert "system/cpu_utilization_percentage" in client.get_run(run.run_id).data.metrics
