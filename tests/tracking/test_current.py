"""Which run of a stage is the newest: one at a time, whatever ends when."""

import mlflow
import pytest

from pipeline.tracking import current, runs

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
