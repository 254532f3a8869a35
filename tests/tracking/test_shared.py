"""What two processes write at the same time, of which the database takes one, is written by both all the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException, RestException
from sqlalchemy import event
from sqlalchemy.orm import Session

from pipeline.tracking import registry, runs, shared, store
from pipeline.tracking.contents import DataSet
from tests.refusals import write_package, zeros

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

IMAGES = DataSet("mnist", "5" * 64, "data/raw", {"x": ("uint8", (-1, 28, 28))}, {"y": ("uint8", (-1,))}, "{}")

BeforeRows = Callable[[str, Callable[[], None]], None]


@pytest.fixture
def before_rows() -> Iterator[BeforeRows]:
    """Let another process write once, when this one has seen that a table lacks its rows and is about to make them."""
    waiting: list[str] = []
    listeners: list[Callable[..., None]] = []

    def interfere(table: str, write: Callable[[], None]) -> None:
        def on_flush(session: Session, *_: object) -> None:
            if waiting and any(row.__tablename__ == table for row in session.new):
                waiting.clear()
                write()

        waiting.append(table)
        listeners.append(on_flush)
        event.listen(Session, "before_flush", on_flush)

    yield interfere
    for listener in listeners:
        event.remove(Session, "before_flush", listener)
    assert not waiting, "nobody was in the way"


def test_tags_of_an_experiment(client: mlflow.MlflowClient, before_rows: BeforeRows) -> None:
    with runs.start_run("r", {}, journal=[]) as run:
        before_rows("experiment_tags", lambda: client.set_experiment_tag("0", "view", "theirs"))
        run.set_experiment_tag("view", "ours")
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert client.get_experiment("0").tags["view"] == "ours"


def test_tags_of_another_experiment(client: mlflow.MlflowClient, before_rows: BeforeRows) -> None:
    _, experiment = store.connect("sweeps")
    before_rows("experiment_tags", lambda: client.set_experiment_tag(experiment, "view", "theirs"))
    store.set_experiment_tag("sweeps", "view", "ours")
    assert client.get_experiment(experiment).tags["view"] == "ours"


def test_a_description_of_an_experiment_that_somebody_writes_first_stays(
    client: mlflow.MlflowClient, before_rows: BeforeRows
) -> None:
    with runs.start_run("r", {}, "described-by-two", journal=[]) as run:
        described = run.experiment_id
        before_rows("experiment_tags", lambda: client.set_experiment_tag(described, "mlflow.note.content", "theirs"))
        run.describe_experiment("ours")
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert client.get_experiment(described).tags["mlflow.note.content"] == "theirs"


def test_data_sets(client: mlflow.MlflowClient, before_rows: BeforeRows) -> None:
    with runs.start_run("theirs", {}) as theirs, runs.start_run("ours", {}, journal=[]) as ours:
        before_rows("datasets", lambda: theirs.log_input(IMAGES, "training"))
        ours.log_input(IMAGES, "evaluation")
    for run, context in ((theirs, "training"), (ours, "evaluation")):
        inputs = client.get_run(run.run_id).inputs
        assert inputs
        (found,) = inputs.dataset_inputs
        assert (found.dataset.name, [tag.value for tag in found.tags]) == ("mnist", [context])


def test_aliases_of_models(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_rows: BeforeRows
) -> None:
    model = replace(zeros(write_package(tmp_path, monkeypatch)), registered="two-at-once")
    with runs.start_run("r", {}, journal=[]) as run:
        before_rows(
            "registered_model_aliases",
            lambda: client.set_registered_model_alias(model.registered, registry.ALIAS, "1"),
        )
        run.log_model(model)
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert client.get_model_version_by_alias(model.registered, registry.ALIAS).run_id == run.run_id
    assert len(client.search_model_versions(f"name = '{model.registered}'")) == 1


@pytest.mark.parametrize(
    ("text", "tries"),
    [
        ("(sqlite3.IntegrityError) UNIQUE constraint failed: experiment_tags.key", shared.TRIES),
        ("(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint", shared.TRIES),
        ("(pymysql.err.IntegrityError) (1062, \"Duplicate entry 'view-1' for key\")", shared.TRIES),
        ("Model Version creation error (name=mnist-plain). Giving up after 3 attempts.", shared.TRIES),
        ("Model Version (name=mnist-plain, version=3) not found", shared.TRIES),
        ("Registered Model with name=mnist-plain not found", shared.TRIES),
        ("Tag value exceeds the maximum length", 1),
    ],
)
def test_a_server_is_asked_again_only_where_another_was_first(text: str, tries: int) -> None:
    asked: list[str] = []

    @shared.shared
    def write() -> None:
        asked.append(text)
        raise RestException({"error_code": "BAD_REQUEST", "message": text})  # type: ignore[no-untyped-call]

    with pytest.raises(MlflowException, match="BAD_REQUEST"):
        write()
    assert len(asked) == tries
