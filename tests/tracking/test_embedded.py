"""The embedded store's file says what MLflow would, as long as it is sure."""

import contextlib
import sqlite3
from pathlib import Path

import mlflow
import pytest

from pipeline.tracking import embedded, runs
from pipeline.tracking.embedded import OUTPUTS_TAG

pytestmark = [
    pytest.mark.usefixtures("client"),
    pytest.mark.filterwarnings("default"),  # MLflow and SQLAlchemy warn of each other
]


@pytest.fixture(autouse=True)
def _nothing_runs(client: mlflow.MlflowClient) -> None:
    """End what other tests have left."""
    for run in client.search_runs(["0"], "attributes.status = 'RUNNING'"):
        client.set_terminated(run.info.run_id, "KILLED")


def record(digest: str, experiment: str | None = None) -> str:
    with runs.start_run("r", {OUTPUTS_TAG: digest}, experiment) as run:
        return run.run_id


def test_finished_runs_alone_count(client: mlflow.MlflowClient) -> None:
    assert not embedded.has_runs(["e1"])
    with contextlib.suppress(ValueError), runs.start_run("r", {OUTPUTS_TAG: "e1"}):
        raise ValueError("half way")
    assert not embedded.has_runs(["e1"])
    run = record("e1")
    assert embedded.has_runs(["e1"])
    assert not embedded.has_runs(["e1", "e2"])
    record("e2")
    assert embedded.has_runs(["e1", "e2"])
    client.delete_run(run)
    assert not embedded.has_runs(["e1"])


def test_a_run_under_way_is_for_mlflow_to_judge(client: mlflow.MlflowClient) -> None:
    record("e3")
    run = client.create_run("0").info.run_id
    assert not embedded.has_runs(["e3"])
    client.delete_run(run)
    assert embedded.has_runs(["e3"])


def test_a_store_of_a_newer_mlflow_is_for_mlflow_to_judge(database: Path) -> None:
    record("e9")
    assert embedded.has_runs(["e9"])
    with contextlib.closing(sqlite3.connect(database / "mlflow.db")) as store:
        ((version,),) = store.execute("SELECT version_num FROM alembic_version")
        store.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        store.commit()
        newer = embedded.has_runs(["e9"])
        store.execute("UPDATE alembic_version SET version_num = ?", (version,))
        store.commit()
    assert not newer


@pytest.mark.parametrize("by", ["ID", "NAME"])
def test_the_current_experiment_counts(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    record(f"e4 {by}", f"course {by}")
    assert not embedded.has_runs([f"e4 {by}"])
    experiment = client.get_experiment_by_name(f"course {by}")
    assert experiment
    monkeypatch.setenv(f"MLFLOW_EXPERIMENT_{by}", experiment.experiment_id if by == "ID" else experiment.name)
    assert embedded.has_runs([f"e4 {by}"])
    client.delete_experiment(experiment.experiment_id)
    assert not embedded.has_runs([f"e4 {by}"])


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "postgresql://nobody@127.0.0.1:9/mlflow", "sqlite://"])
def test_a_server_is_for_mlflow_to_ask(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert not embedded.has_runs([])


def test_a_file_that_is_no_store_is_for_mlflow_to_explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    assert not embedded.has_runs([])
    assert not file.exists()
    file.write_bytes(b"not a database, whatever it says" * 100)
    assert not embedded.has_runs([])
    file.unlink()
    sqlite3.connect(file).executescript("CREATE TABLE runs (run_uuid, status)").close()
    assert not embedded.has_runs([])
