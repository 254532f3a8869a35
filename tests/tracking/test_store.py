"""The store: where it is, its experiments, and what it has."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow.protos import databricks_pb2
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from pipeline.tracking import process, runs, store
from pipeline.tracking.embedded import OUTPUTS_TAG
from pipeline.tracking.errors import TrackingError
from pipeline.tracking.provenance import PROCESS_TAG

pytestmark = [
    pytest.mark.usefixtures("client"),
    pytest.mark.filterwarnings("default"),  # MLflow and SQLAlchemy warn of each other
]


def test_an_experiment_of_its_own(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    started = client.create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", started.info.run_id)
    with runs.start_run("point", {OUTPUTS_TAG: "d2"}, "sweeps") as run:
        pass
    assert run.run_id != started.info.run_id
    assert client.get_experiment(run.experiment_id).name == "sweeps"
    assert store.has_run("d2", "sweeps")
    assert not store.has_run("d2")


def test_a_named_experiment_is_made(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "course")
    with runs.start_run("r", {}) as run:
        pass
    assert client.get_experiment(run.experiment_id).name == "course"


def test_an_experiment_that_another_client_has_just_made(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.create_experiment("at once")
    find = mlflow.MlflowClient.get_experiment_by_name
    answers = [lambda *_: None, find]
    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", lambda *given: answers.pop(0)(*given))
    with runs.start_run("r", {}, "at once") as run:
        assert run.experiment_id == made


def test_has_run_finds_finished_runs_alone(client: mlflow.MlflowClient) -> None:
    assert not store.has_run("d1")
    with contextlib.suppress(ValueError), runs.start_run("r", {}) as run:
        run.set_tags({OUTPUTS_TAG: "d1"})
        raise ValueError("half way")
    assert not store.has_run("d1")
    with runs.start_run("r", {}) as run:
        run.set_tags({OUTPUTS_TAG: "d1"})
    assert store.has_run("d1")
    client.delete_run(run.run_id)
    assert not store.has_run("d1")


def test_an_unusable_store_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database, whatever it says" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(TrackingError) as caught, runs.start_run("r", {}):
        pass
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"MLflow at sqlite:///{tmp_path}/mlflow.db: ")


def test_a_former_file_store_is_mentioned_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        store.connect()
        store.connect()
    assert capsys.readouterr().err.count("mlruns/0/meta.yaml of MLflow's former file store: ") == 1


def test_a_dead_run_that_is_another_users_is_left_to_that_one(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*_: object) -> None:
        raise mlflow.MlflowException("not yours", databricks_pb2.PERMISSION_DENIED)

    run = dead(client)
    store._end_orphaned_runs.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_terminated", forbid)
        store.connect()
    assert client.get_run(run).info.status == "RUNNING"
    store._end_orphaned_runs.cache_clear()
    store.connect()
    assert client.get_run(run).info.status == "KILLED"


def dead(client: mlflow.MlflowClient) -> str:
    tags = {PROCESS_TAG: f"{process.machine()} an-earlier-boot - 1 1.00"}
    return str(client.create_run("0", tags=tags).info.run_id)


def of_mlflow_run(client: mlflow.MlflowClient) -> str:
    return str(client.create_run("0", tags={MLFLOW_PROJECT_ENTRY_POINT: "main"}).info.run_id)


@pytest.mark.parametrize(
    ("make", "look", "answer"), [(dead, "is_dead", True), (of_mlflow_run, "is_open_elsewhere", False)]
)
@pytest.mark.parametrize("ended", ["FINISHED", None])
def test_a_run_that_ends_before_its_process_is_looked_for_keeps_its_status(
    client: mlflow.MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[mlflow.MlflowClient], str],
    look: str,
    answer: bool,
    ended: str | None,
) -> None:
    run = make(client)

    def exit_meanwhile(*_: object) -> bool:
        if ended:
            client.set_terminated(run, ended)
        return answer

    monkeypatch.setattr(process, look, exit_meanwhile)
    store._end_orphaned_runs.cache_clear()
    store.connect()
    assert client.get_run(run).info.status == (ended or "KILLED")


def test_a_run_of_mlflow_run_that_a_process_takes_over_meanwhile_goes_on(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = of_mlflow_run(client)

    def take_over(*_: object) -> bool:
        client.set_tag(run, PROCESS_TAG, process.identity())
        return False

    monkeypatch.setattr(process, "is_open_elsewhere", take_over)
    store._end_orphaned_runs.cache_clear()
    store.connect()
    assert client.get_run(run).info.status == "RUNNING"
    client.set_terminated(run)


@pytest.mark.parametrize("digest", ["bob's lr=0.1 abc", 'say "b" abc'])
def test_a_name_with_quotes_is_found_again(digest: str) -> None:
    assert not store.has_run(digest)
    with runs.start_run("r", {OUTPUTS_TAG: digest}):
        pass
    assert store.has_run(digest)
