"""The places of artifacts in the embedded store, which MLflow keeps as absolute paths.

After a folder was renamed, moved or copied, MLflow would make the old one again. What is in `mlruns/` beside the
store's file is said to be there, wherever that is now.
"""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from . import process
from .provenance import PROCESS_TAG

ARTIFACTS = "mlruns"
# Future artifacts go to the first; the others are places of artifacts that there may be.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_FOREIGN = "SELECT DISTINCT {1} FROM {0} WHERE ({1} LIKE '/%' OR {1} LIKE 'file:%') AND substr({1}, 1, ?) <> ?"
_UNDER_WAY = """
    SELECT run_uuid FROM runs JOIN tags USING (run_uuid)
    WHERE status = 'RUNNING' AND lifecycle_stage = 'active' AND key = ? AND value <> ? LIMIT 1
"""
_WAIT = 60.0  # seconds


def mend(store: Path) -> str | None:
    """Correct the places that are of another folder, if what they name is beside `store` now.

    A place stays if it names an object store, or a folder that is there and is not that of another copy of the store.
    All stay while another process has a run under way, with a line that says so: a folder that cannot be seen here may
    be this one, which that process, on the host of this container, sees at another path.

    Raises:
        OSError: Another process takes too long to do the same (TimeoutError).
        sqlite3.Error: The file cannot be read or written.
    """
    if not _corrections(store):
        return None
    with process.exclusive(store, _WAIT, f"{store}: another process is still at work there"):
        with contextlib.closing(_open(store)) as database, database:
            database.execute("BEGIN IMMEDIATE")
            corrections = _corrections(store)
            moved = [
                old for *_, place, _ in corrections if (old := _split(place)[0]) and not _is_there(old / ARTIFACTS)
            ]
            if moved and (run := database.execute(_UNDER_WAY, (PROCESS_TAG, process.identity())).fetchone()):
                return (
                    f"{store}: artifacts stay in {moved[0]}, where a process that has begun the run {run[0]} may see "
                    "this folder; if that process has ended, delete the run in MLflow, and they are looked for here"
                )
            for table, column, wrong, right in corrections:
                database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (right, wrong))  # noqa: S608
    return None


def _corrections(store: Path) -> list[tuple[str, str, str, str]]:
    """Return tables, columns, places and what these should be."""
    here = f"{store.parent}/{ARTIFACTS}/"
    with contextlib.closing(_open(store)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        foreign = [
            (table, column, place)
            for table, column in _COLUMNS
            if table in tables
            for (place,) in database.execute(_FOREIGN.format(table, column), (len(here), here))
        ]
    found = []
    for table, column, place in foreign:
        old, rest = _split(place)
        if old and _belongs_here(old, rest, store, future=table == "experiments"):
            new = store.parent / rest
            found.append((table, column, place, new.as_uri() if place.startswith("file:") else str(new)))
    return found


def _split(place: str) -> tuple[Path | None, Path]:
    """Return the folder that holds `mlruns`, and the path from there."""
    path = Path(url2pathname(urlsplit(place).path) if place.startswith("file:") else place)
    parts = path.parts
    if ARTIFACTS not in parts:
        return None, path
    at = len(parts) - 1 - parts[::-1].index(ARTIFACTS)
    return Path(*parts[:at]), Path(*parts[at:])


def _belongs_here(old: Path, rest: Path, store: Path, *, future: bool) -> bool:
    """Return whether a place in the folder `old` should be beside the store, for what is there or for the `future`."""
    there, here = old / ARTIFACTS, store.parent / ARTIFACTS
    if _is_there(there) and _is_there(here) and there.samefile(here):  # by another path
        return False
    if _is_there(store.parent / rest) or not _is_there(there):
        return True
    return _is_there(old / store.name) and (future or not _is_there(old / rest))  # this is a copy of what is there


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # another user's, or a host's as a container sees it
        return False


def _open(store: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{store.as_uri()}?mode=rw", uri=True, timeout=20)
