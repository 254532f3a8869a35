"""The embedded store's file: made whole or not at all, though MLflow makes its tables one by one."""

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from . import process

WAIT = 60.0  # seconds that another process may take to make it
_FIRST_TABLES = {"experiments", "runs", "metrics", "params", "tags"}  # those that MLflow makes first


def ensure(path: Path, make: Callable[[str], None]) -> None:
    """Make a whole store in `path` if there is none: `make` makes one at the address that it is given.

    What a killed process has left half made holds no run yet, and is replaced.

    Raises:
        OSError: The file cannot be read or written, or another process takes too long to make it (TimeoutError).
        sqlite3.Error: The file is damaged.
    """
    if _is_whole(path):
        return
    with process.exclusive(path, WAIT, f"{path}: another process is still making it"):
        end = time.monotonic() + WAIT
        while True:
            busy = path.exists() and process.is_open_elsewhere(path, time.time(), servers=True)
            if _is_whole(path):  # whoever had it open may have finished it meanwhile
                return
            if busy and time.monotonic() < end:
                time.sleep(0.2)
                continue
            part = path.with_name(f".{path.name}.part")
            for left in (part, path, path.with_name(f"{path.name}-journal")):
                left.unlink(missing_ok=True)
            make(f"sqlite:///{part}")
            _put(part, path)


def _put(part: Path, path: Path) -> None:
    """Move a store to its place, unless a program that knows no lock has begun one there meanwhile."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        part.replace(path)
    part.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    """Return whether there is a store with its first experiment, which MLflow makes last, or another database."""
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=20)) as store:
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables <= _FIRST_TABLES and "alembic_version" not in tables:
            return True
        rows = (store.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in tables & _FIRST_TABLES)  # noqa: S608
        return any(rows)
