"""What tracking writes, read back from a store with MLflow's own client."""

import contextlib
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.data.http_dataset_source import HTTPDatasetSource
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Run as Stored
from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT
from sqlalchemy import event
from sqlalchemy.orm import Session

from pipeline.tracking import runs
from pipeline.tracking.calls import Call
from pipeline.tracking.contents import DataSet
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


def test_a_signal_in_a_transaction_waits_for_its_end(client: mlflow.MlflowClient) -> None:
    signals = [signal.SIGINT]

    def on_flush(*_: object) -> None:
        if signals:
            signal.raise_signal(signals.pop())

    with runs.start_run("r", {}, journal=[]) as run:
        event.listen(Session, "after_flush", on_flush)
        try:
            with pytest.raises(KeyboardInterrupt):
                run.set_tags({"whole": "yes"})
        finally:
            event.remove(Session, "after_flush", on_flush)
    assert stored(client, run).data.tags["whole"] == "yes"


def images_of(source: str, digest: str) -> DataSet:
    features, targets = {"a": ("uint8", (-1, 28, 28))}, {"b": ("uint8", (-1,))}
    return DataSet("mnist", digest, source, features, targets, '{"train": 60000}')


def test_images_files_and_datasets_come_back(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    (tmp_path / "answer.md").write_text("42", encoding="utf-8")
    digest = "0123456789abcdef" * 4
    with runs.start_run("r", {}) as run:
        for step in (0, 1):
            run.log_image("activation_histograms", step, np.full((4, 6, 3), 255, np.uint8))
        run.log_artifacts([tmp_path / "answer.md"], "results")
        run.log_text("0123  images\n", "sha256sums.txt")
        run.log_input(images_of("https://example.org/images", digest), "training")
    images = [file.path for file in client.list_artifacts(run.run_id, "images")]
    assert sorted(name.split("+")[2] for name in images if name.endswith(".png")) == ["0", "1"]
    assert all(Path(name).name.startswith("activation_histograms+step+") for name in images)
    assert [file.path for file in client.list_artifacts(run.run_id, "results")] == ["results/answer.md"]
    inputs = stored(client, run).inputs
    assert inputs
    assert mlflow.artifacts.load_text(f"{stored(client, run).info.artifact_uri}/sha256sums.txt") == "0123  images\n"
    (entry,) = inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("mnist", digest[:12])
    assert isinstance(source := mlflow.data.get_source(entry), HTTPDatasetSource)
    assert source.url == "https://example.org/images"
    schema = TensorDatasetSchema.from_dict(json.loads(entry.dataset.schema or ""))
    assert [(spec.name, spec.type, spec.shape) for spec in schema.features.inputs] == [("a", np.uint8, (-1, 28, 28))]
    assert [(spec.name, spec.type, spec.shape) for spec in schema.targets.inputs] == [("b", np.uint8, (-1,))]
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "training")]


def test_a_data_set_in_a_folder_has_a_source(client: mlflow.MlflowClient) -> None:
    with runs.start_run("r", {}) as run:
        run.log_input(images_of("data/custom", "0" * 64), "training")
    inputs = stored(client, run).inputs
    assert inputs
    assert mlflow.data.get_source(inputs.dataset_inputs[0]).to_dict() == {"uri": "data/custom"}


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


# What is sent while work goes on


def points_of(client: mlflow.MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def children_of(client: mlflow.MlflowClient, run: runs.Run) -> list[Stored]:
    return list(client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{run.run_id}'"))


def test_what_was_sent_meanwhile_is_there_once(client: mlflow.MlflowClient) -> None:
    with runs.start_run("r", {"sweep": "s"}) as run:
        run.log_live({"loss": [(0, 4.0)]})
        run.log_live({"loss": [(0, 4.0), (1, 2.0)]})
        run.live_child("seed 3", {"mlflow.runColor": "#123456"}).log_live({"loss": [(0, 3.0)]})
        assert points_of(client, run.run_id, "loss") == [(0, 4.0), (1, 2.0)]
        (child,) = children_of(client, run)
        assert (child.info.status, child.data.metrics) == ("RUNNING", {"loss": 3.0})
        run.log_metrics({"loss": [(0, 4.0), (1, 2.0), (2, 1.0)]})
        run.log_child("seed 3", {"seed": 3}, {"loss": [(0, 3.0), (1, 1.5)]}, {"mlflow.runColor": "#123456"})
    assert points_of(client, run.run_id, "loss") == [(0, 4.0), (1, 2.0), (2, 1.0)]
    (child,) = children_of(client, run)
    assert points_of(client, child.info.run_id, "loss") == [(0, 3.0), (1, 1.5)]
    assert (child.info.status, child.data.params) == ("FINISHED", {"seed": "3"})
    assert child.data.tags.items() >= {"sweep": "s", "mlflow.runColor": "#123456"}.items()


def test_nested_runs_that_are_live_end_with_their_run(client: mlflow.MlflowClient) -> None:
    with contextlib.suppress(KeyboardInterrupt), runs.start_run("r", {}) as run:
        run.live_child("seed 3", {})
        raise KeyboardInterrupt
    assert [child.info.status for child in children_of(client, run)] == ["KILLED"]


def test_a_journal_has_what_was_sent_meanwhile_too(client: mlflow.MlflowClient) -> None:
    journal: list[Call] = []
    with runs.start_run("r", {}, journal=journal) as run:
        run.log_live({"loss": [(0, 4.0)]})
        run.log_metrics({"loss": [(0, 4.0), (1, 2.0)]})
    with runs.start_run("again", {}) as again:
        for call in journal:
            getattr(again, call.method)(*call.args, **call.kwargs)
    assert points_of(client, again.run_id, "loss") == [(0, 4.0), (1, 2.0)]


# The experiment


def test_a_description_is_given_once(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "described")
    for text in ("What is here.", "Something else."):
        with runs.start_run("r", {}) as run:
            run.describe_experiment(text)
    assert client.get_experiment(run.experiment_id).tags["mlflow.note.content"] == "What is here."


def test_nothing_is_printed_about_where_a_servers_runs_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    inner = mlflow.MlflowClient.set_terminated

    def note(client: mlflow.MlflowClient, *given: object, **more: object) -> None:
        asked.append(MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get())  # type: ignore[no-untyped-call]
        inner(client, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(mlflow.MlflowClient, "set_terminated", note)
    with runs.start_run("r", {}) as run:
        run.log_child("child", {}, {})
    assert asked == [True, True]
