"""Runs that a server has made twice, because its answer was late and MLflow has asked again."""

import mlflow
import pytest
from mlflow.entities import Run

from pipeline.tracking import place, runs

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


@pytest.fixture
def started(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """A client of a store that makes every run twice."""
    inner = mlflow.MlflowClient.create_run

    def twice(self: mlflow.MlflowClient, *given: object, **more: object) -> Run:
        inner(self, *given, **more)  # type: ignore[arg-type]
        return inner(self, *given, **more)  # type: ignore[arg-type]

    for run in client.search_runs(["0"]):
        client.delete_run(run.info.run_id)
    monkeypatch.setattr(mlflow.MlflowClient, "create_run", twice)
    return client


def test_each_run_is_there_once(started: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with runs.start_run("other", {}) as other, runs.start_run("r", {}) as run:
        run.live_child("seed 3", {}).log_live({"loss": [(0, 1.0)]})
        run.log_child("seed 3", {}, {})
        run.log_child("seed 4", {}, {})
        monkeypatch.setattr(place, "path_of", lambda _: None)  # as a server has none
    found = {one.info.run_id: one for one in started.search_runs(["0"])}
    assert sorted(str(one.info.run_name) for one in found.values()) == ["other", "r", "seed 3", "seed 4"]
    assert {one.info.status for one in found.values()} == {"FINISHED"}
    assert {run.run_id, other.run_id} <= set(found)


def test_a_run_that_is_under_way_is_no_twin(started: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with runs.start_run("r", {}) as first:
        with runs.start_run("r", {}):
            monkeypatch.setattr(place, "path_of", lambda _: None)
        assert started.get_run(first.run_id).info.lifecycle_stage == "active"
    assert len(started.search_runs(["0"])) == 2
