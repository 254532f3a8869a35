"""What a project and its store hold, before and after a fault, read without MLflow."""

import contextlib
import hashlib
import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

OUTPUTS = ("data", "runs", "results", "sweeps")


def copy(source: Path, folder: Path) -> Path:
    """Copy a project with its store, whose artifacts go to the copy from then on."""
    shutil.copytree(source, folder)
    with contextlib.closing(_open(folder)) as store, store:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (f"{source}/", f"{folder}/"))
    return folder


def outputs(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every output file, by its path."""
    paths = [path for name in OUTPUTS for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files that a killed process may leave."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*.part*")]


def statuses(folder: Path) -> Counter[str]:
    """Count the runs of the store in `folder`, nested ones too, by their status."""
    return Counter(run.status for run in _runs(folder))


def records(folder: Path) -> Counter[str]:
    """Count what finished runs of the store in `folder` hold, nested ones with their parents; equal texts are equal."""
    runs = _runs(folder)
    with contextlib.closing(_open(folder)) as store:
        return Counter(
            "\n".join(_described(store, run) for run in (top, *(run for run in runs if run.parent == top.key)))
            for top in runs
            if top.parent is None and top.status == "FINISHED"
        )


def empty(folder: Path) -> None:
    """Delete all runs of the store in `folder`, as MLflow does: they stay, unseen."""
    with contextlib.closing(_open(folder)) as store, store:
        store.execute("UPDATE runs SET lifecycle_stage = 'deleted'")


@dataclass(frozen=True)
class _Run:
    key: str
    parent: str | None
    name: str
    status: str
    artifacts: Path


def _runs(folder: Path) -> list[_Run]:
    query = """
        SELECT run_uuid, value, name, status, artifact_uri
        FROM runs LEFT JOIN (SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId') USING (run_uuid)
        WHERE lifecycle_stage = 'active' ORDER BY name, run_uuid
    """
    if not (folder / "mlflow.db").exists():
        return []
    with contextlib.closing(_open(folder)) as store:
        try:
            rows = store.execute(query).fetchall()
        except sqlite3.OperationalError:  # its tables are half made
            return []
    served = f"{folder}/mlartifacts"  # where `mlflow server` puts what it is sent
    return [
        _Run(run, parent, name, status, Path(where.replace("mlflow-artifacts:", served)))
        for run, parent, name, status, where in rows
    ]


def _described(store: sqlite3.Connection, run: _Run) -> str:
    """Return a run as a text, without what no two equal runs share; `mlflow run` puts a name of its own in brackets."""
    of_run = "WHERE run_uuid = ? ORDER BY 1, 2, 3"
    params = store.execute(f"SELECT key, value, '' FROM params {of_run}", (run.key,)).fetchall()
    points = store.execute(f"SELECT key, step, value FROM metrics {of_run}", (run.key,)).fetchall()
    files = sorted(
        (path.relative_to(run.artifacts).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest(), "")
        for part in ("training", "results", "figures")
        for path in (run.artifacts / part).rglob("*")
        if path.is_file()
    )
    images = len(list((run.artifacts / "images").glob("*.png")))
    rows = [*params, *(point for point in points if point[0] != "seconds"), *files, (images, "images", "")]
    return "\n".join([f"{run.name.partition(' [')[0]} {run.status}", *(" ".join(map(str, row)) for row in rows)])


def _open(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "mlflow.db", timeout=30)
