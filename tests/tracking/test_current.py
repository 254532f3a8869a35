"""Which run of a stage is the newest: one at a time, whatever ends when."""

from collections.abc import Iterator
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run
from mlflow.protos import databricks_pb2

from pipeline.tracking import current, runs, store

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


@pytest.fixture(autouse=True)
def _experiment(request: pytest.FixtureRequest, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    del client  # which enters the store's folder
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)


def record(stage: str) -> runs.Run:
    with runs.start_run(stage, {"stage": stage}) as run:
        run.make_current(stage)
    return run


def tagged(client: mlflow.MlflowClient, run: runs.Run) -> set[str]:
    return {one.info.run_id for one in client.search_runs([run.experiment_id], f"tags.{current.TAG} = 'true'")}


def test_a_run_takes_over_from_those_of_its_stage_alone(client: mlflow.MlflowClient) -> None:
    record("train@plain")
    other, latest = record("train@batchnorm"), record("train@plain")
    assert tagged(client, latest) == {other.run_id, latest.run_id}
    latest = record("train@plain")
    assert tagged(client, latest) == {other.run_id, latest.run_id}


def test_of_two_that_overlap_the_one_that_was_started_later_has_the_tag(client: mlflow.MlflowClient) -> None:
    with runs.start_run("a", {"stage": "a"}) as first, runs.start_run("a", {"stage": "a"}) as second:
        second.make_current("a")
        first.make_current("a")
    order = sorted((client.get_run(run.run_id) for run in (first, second)), key=lambda run: run.info.start_time)
    if order[0].info.start_time < order[1].info.start_time:
        assert tagged(client, first) == {second.run_id}
    assert len(tagged(client, first)) == 1


def test_a_run_that_is_deleted_meanwhile_does_not_keep_the_tag_on_others(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    olds = [record("a") for _ in range(2)]
    client.set_tag(olds[0].run_id, current.TAG, "true")
    inner = store.search

    def search(*given: Any) -> Iterator[Run]:
        monkeypatch.setattr(store, "search", inner)
        found = sorted(inner(*given), key=lambda run: (run.info.start_time, run.info.run_id))
        client.delete_run(found[0].info.run_id)  # by another process, before this one takes the tag from it
        return iter(found)

    monkeypatch.setattr(store, "search", search)
    latest = record("a")
    assert latest.left_out == set()
    assert tagged(client, latest) == {latest.run_id}


def test_a_refusal_of_a_run_that_is_there_is_told(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    old = record("a")
    inner = mlflow.MlflowClient.set_tag

    def forbid(self: mlflow.MlflowClient, run_id: str, *given: Any) -> None:
        if run_id == old.run_id:
            raise mlflow.MlflowException("not yours", databricks_pb2.PERMISSION_DENIED)
        inner(self, run_id, *given)

    monkeypatch.setattr(mlflow.MlflowClient, "set_tag", forbid)
    latest = record("a")
    assert latest.left_out == {"which run is the newest"}
    assert tagged(client, latest) == {old.run_id, latest.run_id}


def test_a_run_that_was_deleted_itself_has_no_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "search", lambda *_: iter(()))
    run = record("a")
    assert (run.outage, run.left_out) == (None, set())
