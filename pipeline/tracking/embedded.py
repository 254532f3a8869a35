"""What the embedded store's file tells by itself: importing MLflow takes seconds, which a command may do without."""

import contextlib
import functools
import importlib.util
import os
import sqlite3
import sys
from collections.abc import Collection
from pathlib import Path

from . import legacy, locations, place

DEFAULT_EXPERIMENT = "0"
OUTPUTS_TAG = "digest.outputs"

_RUNNING = "SELECT 1 FROM runs WHERE status = 'RUNNING' AND lifecycle_stage = 'active' LIMIT 1"
_RECORDED = """
    SELECT DISTINCT tags.value FROM tags JOIN runs USING (run_uuid) JOIN experiments USING (experiment_id)
    WHERE tags.key = ? AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
    AND experiments.{} = ? AND experiments.lifecycle_stage = 'active'
"""


def has_runs(digests: Collection[str]) -> bool:
    """Return whether the current experiment has a finished run for each of these outputs, and no run is under way.

    It is False, too, where only MLflow can tell: of a server, of a file that is missing, damaged or of a version that
    is unknown here, and of runs under way, which may be those of dead processes.
    """
    path = place.path()
    if not path:
        return False
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        column, experiment = "experiment_id", given
    elif name := os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        column, experiment = "name", name
    else:
        column, experiment = "experiment_id", DEFAULT_EXPERIMENT
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=20)) as store:
            recorded = {value for (value,) in store.execute(_RECORDED.format(column), (OUTPUTS_TAG, experiment))}
            if not recorded.issuperset(digests) or store.execute(_RUNNING).fetchone():
                return False
            if not all(_is_known(version) for (version,) in store.execute("SELECT version_num FROM alembic_version")):
                return False
        look_over(path)
    except sqlite3.Error:
        return False
    return True


def _is_known(version: str) -> bool:
    """Return whether the MLflow that is installed has a migration to this version of a store."""
    mlflow = importlib.util.find_spec("mlflow")  # which does not import it
    if not mlflow or not mlflow.origin:
        return False
    migrations = Path(mlflow.origin).parent / "store" / "db_migrations" / "versions"
    return any(migrations.glob(f"{version}_*.py"))


@functools.cache
def look_over(path: Path) -> None:
    """Correct, once in this process, the places in an embedded store, and mention a former one beside it.

    A place that cannot be corrected now is mentioned, too.

    Raises:
        OSError: Another process takes too long to do the same (TimeoutError).
        sqlite3.Error: The file cannot be read or written.
    """
    for line in filter(None, (locations.mend(path), legacy.warning(path.parent))):
        print(line, file=sys.stderr)
