"""Where the store is: in the project's folder, wherever DVC has its root and whatever the folder is called."""

import os
from pathlib import Path

import mlflow
import pytest

from pipeline.tracking import place, runs
from pipeline.tracking.errors import TrackingError
from tests.samples import enter

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make and enter a folder, whose store is the one that is found without further words."""
    folder.mkdir(parents=True)
    enter(folder, monkeypatch)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return folder


def test_the_store_is_in_the_projects_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(tmp_path / "mono" / "bn", monkeypatch)
    (tmp_path / "mono" / ".dvc").mkdir()
    assert place.uri() == f"sqlite:///{folder}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "mono"))  # as `dvc repro` sets it
    assert place.uri() == f"sqlite:///{folder}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert place.uri() == f"sqlite:///{folder}/mlflow.db"


@pytest.mark.parametrize("subfolder", [".", "projects/bn"])
def test_a_temporary_copy_by_dvc_has_the_originals_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subfolder: str
) -> None:
    copy = tmp_path / "mono" / ".dvc" / "tmp" / "exps" / "standalone" / "tmp123"
    monkeypatch.chdir(tmp_path)
    project(copy / subfolder / "x", monkeypatch)
    monkeypatch.chdir(copy / subfolder)
    (copy / ".dvc").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "mono"))
    assert place.root() == tmp_path / "mono" / subfolder


def test_a_temporary_copy_of_a_dvc_project_below_gits_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "git" / "bn"
    copy = project(below / ".dvc" / "tmp" / "exps" / "tmp123" / "bn", monkeypatch)
    (copy / ".dvc").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(below))
    assert place.root() == below


@pytest.mark.parametrize("name", ["a b", "ü", "a#b", "a'b", "a&b", "100%"])
def test_a_folder_of_any_usual_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = project(tmp_path / name, monkeypatch)
    before = set(tmp_path.rglob("*"))
    with runs.start_run("r", {}) as run:
        run.log_text("42", "answer.txt")
        run.log_metrics({"loss": [(0, 1.0)]})
    mlflow.set_tracking_uri("")
    new = set(tmp_path.rglob("*")) - before
    assert {path for path in new if folder not in path.parents} == set()
    (written,) = [path for path in new if path.name == "answer.txt"]
    assert written.read_text() == "42"


@pytest.mark.parametrize(
    "name", ["a%20b", "a?b", "%C3%BC", "a'\"b", os.fsdecode(b"lat\xe9"), f"{'x' * 250}/{'y' * 240}"]
)
def test_a_folder_whose_name_mlflow_misreads_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = project(tmp_path / name, monkeypatch)
    with pytest.raises(TrackingError, match="rename the folder, or name a store elsewhere by MLFLOW_TRACKING_URI"):
        with runs.start_run("r", {}):
            pass
    assert list(folder.iterdir()) == []
    assert [path for path in tmp_path.rglob("*") if path not in (folder, folder.parent)] == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    place.check()


def test_a_relative_address_is_in_the_projects_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///stores/runs.db")
    assert place.path_of(place.uri()) == tmp_path / "stores" / "runs.db"
    assert place.name() == "sqlite:///stores/runs.db"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sqlite:///~/runs.db", "write it out: sqlite:////home/me/runs.db"),
        ("sqlite://", "a store in memory is gone when the command ends"),
        ("sqlite:///:memory:", "a store in memory is gone when the command ends"),
        ("sqlite:///file::memory:?uri=true", "a store in memory is gone when the command ends"),
    ],
)
def test_an_address_at_which_runs_would_be_lost(address: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(TrackingError, match=words):
        place.check()


def test_the_line_end_of_windows_is_no_part_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000\r")
    assert place.uri() == "http://127.0.0.1:5000"


@pytest.mark.parametrize("password", ["secret", "s@cret", "se/cret", "s%40"])
def test_passwords_are_masked_whole(password: str) -> None:
    told = place.without_password(f"MLflow at http://me:{password}@host:5000/x: no, me@example.org")
    assert told == "MLflow at http://me:***@host:5000/x: no, me@example.org"
    assert place.without_password("http://host:5000/x is away") == "http://host:5000/x is away"


def test_what_is_kept_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql+pymysql://me:secret@db:3306/x")
    assert place.name() == "mysql+pymysql://me:***@db:3306/x"
    assert place.path_of(place.uri()) is None
