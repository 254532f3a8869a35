"""Records of stages that could not be sent: kept beside the embedded store, and sent by the next command, once."""

import contextlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

from pipeline import paths, processes
from pipeline.errors import UserError
from pipeline.files import to_json, write_atomic
from pipeline.params import Params
from pipeline.records import stages as records
from pipeline.records.stages import Record
from pipeline.tracking import provenance, runs, store
from pipeline.tracking.runs import Run

RESENT_TAG = "resent"  # on the run that was sent in the end: which run it is in the place of
_DESCRIPTION = "record.json"


def keep(record: Record, run: Run) -> None:
    """Keep the record of a stage whose work is done, with its files and images, which may change or go.

    Raises:
        UserError: it cannot be written.
    """
    kept = {
        "stage": record.stage,
        "name": record.stage + provenance.suffix(),
        "params": record.settings.model_dump(mode="json"),
        "tags": {name: value for name, value in run.common_tags.items() if name != provenance.PROCESS_TAG},
        "run": run.run_id,
        "experiment": run.experiment_id,
        "store": store.uri(),
    }
    entry = _home() / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    with _alone():
        try:
            shutil.copytree(record.folder, entry / "files")
            if record.images != record.folder:
                shutil.copytree(record.images, entry / "images")
            write_atomic(entry / _DESCRIPTION, to_json(kept))  # last: it says that the rest is whole
        except (OSError, UserError) as error:
            shutil.rmtree(entry, ignore_errors=True)
            raise UserError(f"{entry}: the record of {record.stage} cannot be kept: {error}") from None


def send() -> None:
    """Send what was kept for this store; what cannot be sent stays, and is said in one line.

    Raises:
        StoreError: the store is out of reach.
    """
    if not _home().is_dir() or not any(path.is_dir() for path in _home().iterdir()):
        return
    store.connect()
    with _alone():
        for entry in sorted(path for path in _home().iterdir() if path.is_dir()):
            try:
                _send(entry)
            except UserError as error:
                print(f"{entry}: not sent yet: {error}", file=sys.stderr)


def _send(entry: Path) -> None:
    if not (entry / _DESCRIPTION).is_file():  # of a killed process
        shutil.rmtree(entry)
        return
    kept = json.loads((entry / _DESCRIPTION).read_text(encoding="utf-8"))
    if kept["store"] != store.uri():
        return
    if not store.finished(kept["run"], kept["experiment"], RESENT_TAG):
        images = entry / "images" if (entry / "images").is_dir() else entry / "files"
        record = records.of(kept["stage"], Params.model_validate(kept["params"]), images, entry / "files")
        tags = {**kept["tags"], RESENT_TAG: kept["run"]}
        with runs.again(kept["name"], tags, kept["experiment"]) as run:
            record.begin(run)
            record.finish(run)
        print(f"{record.stage}: recorded in MLflow, which an earlier command could not do")
    shutil.rmtree(entry)


def _home() -> Path:
    return store.root() / paths.UNSENT


def _alone() -> contextlib.AbstractContextManager[None]:
    return processes.alone(_home(), 600, f"{_home()}: another process is still at work there")
