"""Places of artifacts after the folder was renamed, moved or copied."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import mlflow
import pytest

from pipeline.tracking import embedded, process, runs, store
from pipeline.tracking.provenance import PROCESS_TAG
from tests.samples import enter

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run that has an artifact, one that has none, and an experiment without artifacts."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        with runs.start_run("first", {}) as run:
            run.log_text("1", "first.txt")
        with runs.start_run("bare", {}):
            pass
        with runs.start_run("point", {}, "sweeps"):
            pass
    mlflow.set_tracking_uri("")
    return folder


@pytest.fixture
def old(made: Path, tmp_path: Path) -> Path:
    """The project under the name `old`, as a real move makes it."""
    shutil.copytree(made, tmp_path / "old")
    with contextlib.closing(sqlite3.connect(tmp_path / "old" / "mlflow.db")) as store, store:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(made), str(tmp_path / "old")))
    return tmp_path / "old"


def places(folder: Path) -> dict[str, str]:
    """Where the experiments and runs have their artifacts, by name."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
        query = "SELECT name, artifact_location FROM experiments UNION SELECT name, artifact_uri FROM runs"
        return dict(store.execute(query).fetchall())


def record(folder: Path, monkeypatch: pytest.MonkeyPatch, experiment: str | None = None) -> str:
    """Record one more run with an artifact, and return where that is."""
    enter(folder, monkeypatch)
    with runs.start_run("second", {}, experiment) as run:
        run.log_text("2", "second.txt")
    mlflow.set_tracking_uri("")
    return str(run.client.get_run(run.run_id).info.artifact_uri)


def test_a_renamed_folder_has_its_artifacts_old_and_new(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = old.rename(old.with_name("new"))
    for experiment in (None, "sweeps"):
        where = Path(record(new, monkeypatch, experiment))
        assert new in where.parents
        assert (where / "second.txt").read_text() == "2"
    assert not old.exists()
    assert (Path(places(new)["first"]) / "first.txt").read_text() == "1"
    assert all(place.startswith(f"{new}/mlruns/") for place in places(new).values())


def test_a_copy_is_apart_from_its_original(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(old, old.with_name("copy"))
    before = sorted(old.rglob("*"))
    for experiment in (None, "sweeps"):
        assert copy in Path(record(copy, monkeypatch, experiment)).parents
    assert sorted(old.rglob("*")) == before
    assert all(place.startswith(f"{copy}/mlruns/") for place in places(copy).values())


def begin(folder: Path, identity: str) -> str:
    """Have a process begin a run in the project of a folder, and return the run."""
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return str(client.create_run("0", tags={PROCESS_TAG: identity}, run_name="under way").info.run_id)


def test_while_a_process_that_cannot_be_seen_has_a_run_the_places_stay(
    old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine, boot, _, *rest = process.identity().split()
    run = begin(old, " ".join([machine, boot, "of-the-host", *rest]))
    new = old.rename(old.with_name("new"))  # as a container sees it that mounts it there
    before = places(new)
    enter(new, monkeypatch)
    embedded.look_over.cache_clear()
    client, _ = store.connect()
    assert places(new) == before
    assert capsys.readouterr().err == (
        f"{new}/mlflow.db: artifacts stay in {old}, where a process that has begun the run {run} may see this "
        "folder; if that process has ended, delete the run in MLflow, and they are looked for here\n"
    )
    client.delete_run(run)
    embedded.look_over.cache_clear()
    store.connect()
    mlflow.set_tracking_uri("")
    assert {name for name, place in places(new).items() if not place.startswith(f"{new}/mlruns/")} == set()
    assert capsys.readouterr().err == ""


def test_a_run_of_a_dead_process_keeps_no_place(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, _, *rest = process.identity().split()
    begin(old, " ".join([machine, "an-earlier-boot", *rest]))
    new = old.rename(old.with_name("new"))
    assert new in Path(record(new, monkeypatch)).parents
    assert all(place.startswith(f"{new}/mlruns/") for place in places(new).values())


def test_a_copy_that_was_made_during_a_run_is_apart_from_its_original(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, boot, _, *rest = process.identity().split()
    begin(old, " ".join([machine, boot, "of-the-host", *rest]))
    copy = shutil.copytree(old, old.with_name("copy"))
    assert copy in Path(record(copy, monkeypatch)).parents


def test_files_addresses_and_models_too(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(sqlite3.connect(old / "mlflow.db")) as store, store:
        store.execute("UPDATE experiments SET artifact_location = ?", (f"{(old / 'mlruns').as_uri()}/0",))
        store.execute(
            "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
            " last_updated_timestamp_ms, status, lifecycle_stage) VALUES ('m-1', 0, 'model', ?, 0, 0, 2, 'active')",
            (f"{old}/mlruns/0/models/m-1/artifacts",),
        )
    new = old.rename(old.with_name("ne ü"))
    record(new, monkeypatch)
    assert places(new)["Default"] == f"{(new / 'mlruns').as_uri()}/0"
    with contextlib.closing(sqlite3.connect(new / "mlflow.db")) as store:
        (found,) = store.execute("SELECT artifact_location FROM logged_models").fetchone()
    assert found == f"{new}/mlruns/0/models/m-1/artifacts"


def test_what_is_elsewhere_on_purpose_stays(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = old.with_name("disk")
    shutil.move(old / "mlruns", elsewhere / "mlruns")
    with contextlib.closing(sqlite3.connect(old / "mlflow.db")) as store, store:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(old), str(elsewhere)))
        store.execute("UPDATE experiments SET artifact_location = 's3://bucket/mlruns/1' WHERE name = 'sweeps'")
    before = places(old)
    assert elsewhere in Path(record(old, monkeypatch)).parents
    assert {name: place for name, place in places(old).items() if name != "second"} == before


def test_the_same_folder_by_another_path_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = old.with_name("link")
    link.symlink_to(old)
    before = places(old)
    enter(old, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{link}/mlflow.db")
    with runs.start_run("third", {}):
        pass
    mlflow.set_tracking_uri("")
    assert {name: place for name, place in places(old).items() if name != "third"} == before


def test_a_new_stores_artifacts_are_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("work", "stores"):
        (tmp_path / name).mkdir()
    enter(tmp_path / "work", monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/stores/new/runs.db")
    with runs.start_run("r", {}, "named") as run:
        run.log_text("1", "first.txt")
    mlflow.set_tracking_uri("")
    (written,) = tmp_path.rglob("first.txt")
    assert tmp_path / "stores" / "new" / "mlruns" in written.parents
    assert list((tmp_path / "work").iterdir()) == []
