"""Equal runs of a stage: which are replaced by the newest, and which are not."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipeline.tracking import duplicates, provenance, runs
from pipeline.tracking.embedded import OUTPUTS_TAG
from pipeline.tracking.stage import stage_run
from tests.refusals import write_package, zeros
from tests.samples import enter

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

NOTE = "mlflow.note.content"


@pytest.fixture
def client(database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mlflow.MlflowClient]:
    """The tests' store, emptied, in a stage of DVC."""
    enter(database, monkeypatch)
    for name, value in (("DVC_STAGE", "prepare"), ("DVC_ROOT", str(database))):
        monkeypatch.setenv(name, value)
    client = mlflow.MlflowClient(f"sqlite:///{database}/mlflow.db")
    for run in client.search_runs(["0"]):
        client.delete_run(run.info.run_id)
    yield client
    mlflow.set_tracking_uri("")


def record(digest: str = "d1", note: str = "What it does.") -> str:
    """Record the stage, as the pipeline does, and return its run."""
    with stage_run("prepare") as run:
        run.set_tags({"stage": "prepare", NOTE: note})
        run.log_child("seed 3", {"seed": 3}, {"loss": [(0, 1.0)]})
        run.delete_duplicates(digest)
        run.set_tags({OUTPUTS_TAG: digest})
    return run.run_id


def left(client: mlflow.MlflowClient) -> set[str]:
    return {run.info.run_id for run in client.search_runs(["0"]) if "mlflow.parentRunId" not in run.data.tags}


def child_of(client: mlflow.MlflowClient, run_id: str) -> str:
    (child,) = client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{run_id}'")
    return str(child.info.run_id)


def register(client: mlflow.MlflowClient, run_id: str) -> None:
    with contextlib.suppress(mlflow.MlflowException):
        client.create_registered_model("net")
    client.create_model_version("net", f"runs:/{run_id}/model", run_id=run_id)


def test_an_equal_run_is_replaced_with_its_nested_runs(client: mlflow.MlflowClient) -> None:
    record()
    other = record("d2")
    latest = record()
    assert left(client) == {other, latest}
    assert len(client.search_runs(["0"])) == 4


@pytest.mark.parametrize(
    "touch",
    [
        lambda client, run: client.set_tag(run, "candidate", "yes"),
        lambda client, run: client.set_tag(run, NOTE, "The best so far."),
        lambda client, run: client.update_run(run, name="champion"),
        lambda client, run: client.set_tag(child_of(client, run), "candidate", "yes"),
        lambda client, run: client.update_run(child_of(client, run), name="odd one"),
        register,
    ],
    ids=["tagged", "described", "renamed", "nested run tagged", "nested run renamed", "registered"],
)
def test_a_run_that_somebody_has_touched_stays(
    client: mlflow.MlflowClient, touch: Callable[[mlflow.MlflowClient, str], None]
) -> None:
    touched = record()
    touch(client, touched)
    latest = record()
    assert left(client) == {touched, latest}
    assert child_of(client, touched)
    latest = record()
    assert left(client) == {touched, latest}, "those that nobody has touched are still replaced"


def record_model(package: Path) -> str:
    with stage_run("prepare") as run:
        run.log_model(zeros(package))
        run.delete_duplicates("d1")
        run.set_tags({OUTPUTS_TAG: "d1"})
    return run.run_id


def test_a_run_whose_model_the_pipeline_has_registered_is_replaced_and_the_model_stays(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_package(tmp_path, monkeypatch)
    record_model(package)
    latest = record_model(package)
    assert left(client) == {latest}
    assert mlflow.pyfunc.load_model("models:/all-zeros@current").predict(np.zeros((2, 3), np.float32)).tolist() == [
        0,
        0,
    ]


def test_a_run_whose_model_somebody_has_deleted_is_replaced(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_package(tmp_path, monkeypatch)
    outputs = client.get_run(record_model(package)).outputs
    assert outputs
    client.delete_logged_model(outputs.model_outputs[0].model_id)
    latest = record_model(package)
    assert left(client) == {latest}


def test_a_run_of_whose_registered_model_somebody_has_made_something_stays(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_package(tmp_path, monkeypatch)
    with contextlib.suppress(mlflow.MlflowException):
        client.delete_registered_model("all-zeros")
    touched = record_model(package)
    client.set_registered_model_alias("all-zeros", "champion", "1")
    latest = record_model(package)
    assert left(client) == {touched, latest}


def test_another_command_line_or_commit_is_no_touch(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    record()
    monkeypatch.setattr("sys.argv", ["elsewhere", "--again"])
    monkeypatch.setattr(provenance, "_git", lambda *_: "")
    latest = record()
    assert left(client) == {latest}


def test_all_tags_of_provenance_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_ROOT", "MLFLOW_RUN_ID"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr(provenance, "_git", lambda *_: "abc")
    assert set(provenance.tags()) == set(provenance.NAMES)


# Runs that surround DVC


def test_under_dvc_a_stage_has_a_run_of_its_own(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", outer)
    with runs.start_run("prepare", {}) as run:
        pass
    assert run.run_id != outer
    assert client.get_run(run.run_id).data.tags[provenance.OUTER_TAG] == outer
    assert client.get_run(outer).info.status == "RUNNING"
    monkeypatch.delenv("DVC_STAGE")
    with runs.start_run("prepare", {}) as run:
        pass
    assert run.run_id == outer
    assert provenance.OUTER_TAG not in client.get_run(outer).data.tags


def test_of_equal_runs_made_at_once_the_one_that_began_first_stays(client: mlflow.MlflowClient) -> None:
    with runs.start_run("first", {}) as first:
        first.set_tags({OUTPUTS_TAG: "d3"})
        first.log_child("seed 3", {"seed": 3}, {"loss": [(0, 1.0)]})
        with runs.start_run("second", {}) as second:
            second.set_tags({OUTPUTS_TAG: "d3"})
            second.log_child("seed 3", {"seed": 3}, {"loss": [(0, 1.0)]})
        duplicates.keep_first(second, "d3")
        assert left(client) == {first.run_id, second.run_id}
    duplicates.keep_first(first, "d3")
    assert left(client) == {first.run_id}
    assert len(client.search_runs(["0"])) == 2
