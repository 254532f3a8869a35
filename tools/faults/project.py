"""A small project to break: own images, small networks, an embedded store; and what it holds, read without MLflow."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from ruamel.yaml import YAML

from pipeline.data import idx

ROOT = Path(__file__).resolve().parents[2]
OUTPUTS = ("data", "runs", "results", "sweeps")
SEEDS = (0, 1)


def make(folder: Path) -> Path:
    """Lay out a project: 300 training and 100 test images of one's own, and networks with few units."""
    images = folder / "images"
    images.mkdir(parents=True)
    random = np.random.default_rng(0)
    for count, (pixels, labels) in ((300, idx.FILES[:2]), (100, idx.FILES[2:])):
        (images / pixels).write_bytes(idx.encode_images(random.integers(0, 256, (count, 28, 28), np.uint8)))
        (images / labels).write_bytes(idx.encode_labels(random.integers(0, 10, count, np.uint8)))
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["data"] |= {"dataset": "custom", "directory": "images"}
    params["model"]["hidden"] = [8, 6]
    params["train"] |= {"seeds": list(SEEDS), "epochs": 2, "batch_size": 64, "device": "cpu", "threads": 1}
    params["evaluate"]["resamples"] = 100
    yaml.dump(params, folder / "params.yaml")
    for name in ("MLproject", "python_env.yaml", "requirements.txt", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
    return folder


def copy(source: Path, folder: Path) -> Path:
    """Copy a project with its store, whose artifacts go to the copy from then on."""
    shutil.copytree(source, folder)
    with contextlib.closing(_open(folder)) as store, store:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (f"{source}/", f"{folder}/"))
    return folder


def environment(**more: str) -> dict[str, str]:
    """Return the environment of commands, with none of the caller's tracking settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_", "PYTEST_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**clean, "PATH": path, **more}


def start(folder: Path, command: Sequence[str], log: IO[bytes], **more: str) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own."""
    env = environment(**more)
    return subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)


def call(folder: Path, command: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    env = environment(**more)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)


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
