"""The embedded store's file, which other programs may make at the same time, without a lock."""

import contextlib
import errno
import sqlite3
from pathlib import Path

import pytest

from pipeline.tracking import process, sqlite

WHOLE = "CREATE TABLE experiments (name TEXT); INSERT INTO experiments VALUES ('{}')"
HALF = "CREATE TABLE experiments (name TEXT); CREATE TABLE alembic_version (version_num TEXT)"


def write(path: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.executescript(script)


def make(address: str) -> None:
    write(Path(address.removeprefix("sqlite:///")), WHOLE.format("ours"))


def maker(path: Path) -> str:
    """Whose store it is."""
    with contextlib.closing(sqlite3.connect(path)) as store:
        ((name,),) = store.execute("SELECT name FROM experiments")
    return str(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mlflow.db"


def test_a_store_that_another_program_makes_meanwhile_stays(path: Path) -> None:
    def overtaken(address: str) -> None:
        make(address)
        write(path, WHOLE.format("theirs"))

    sqlite.ensure(path, overtaken)
    assert maker(path) == "theirs"
    assert list(path.parent.iterdir()) == [path]


def test_a_store_that_another_program_finishes_while_it_is_looked_for_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, HALF)

    def finish(*_: object, servers: bool) -> bool:
        assert servers, "`mlflow ui` makes a store, too"
        write(path, "INSERT INTO experiments VALUES ('theirs')")
        return False

    monkeypatch.setattr(process, "is_open_elsewhere", finish)
    sqlite.ensure(path, make)
    assert maker(path) == "theirs"


def test_what_a_killed_process_has_left_is_replaced(path: Path) -> None:
    write(path, HALF)
    for left in (f".{path.name}.part", f"{path.name}-journal"):
        path.with_name(left).write_text("left", encoding="utf-8")
    sqlite.ensure(path, make)
    assert maker(path) == "ours"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_to_a_store_that_is_gone_is_replaced(path: Path) -> None:
    path.symlink_to("elsewhere.db")
    sqlite.ensure(path, make)
    assert maker(path) == "ours"


def test_a_file_system_without_hard_links_has_a_store_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    sqlite.ensure(path, make)
    assert maker(path) == "ours"
    assert list(path.parent.iterdir()) == [path]
