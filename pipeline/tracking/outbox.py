"""Records of stages that could not be sent: kept beside the embedded store, and sent by the next command, once.

A record is the journal of a run: the calls that its stage has made, as JSON, and the files, arrays and bytes that
they were given.
"""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import place, process, provenance
from .contents import DataSet, ModelFiles
from .errors import TrackingError

if TYPE_CHECKING:
    from .runs import Run

RESENT_TAG = "resent"  # on the run that was sent in the end: which run it replaces
OUTBOX = Path("mlruns/unsent")
_RECORD = "record.json"
_CONTENTS = {kind.__name__: kind for kind in (DataSet, ModelFiles)}


def keep(stage: str, run: "Run") -> None:
    """Keep the record of a stage whose work is done, with copies of its files, which may change or go.

    Raises:
        TrackingError: It cannot be written.
    """
    entry = _home() / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    part = entry.with_name(f".{entry.name}.part")
    try:
        with _lock():
            part.mkdir(parents=True)
            calls = [[call.method, _encode(call.args, part), _encode(call.kwargs, part)] for call in run.journal or ()]
            record = {
                "stage": stage,
                "name": stage + provenance.suffix(),
                "tags": {name: value for name, value in run.common_tags.items() if name != provenance.PROCESS_TAG},
                "run": run.run_id,
                "experiment": run.experiment_id,
                "store": place.name(),
                "calls": calls,
            }
            (part / _RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            part.rename(entry)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise TrackingError(f"{entry}: {error}") from None


def send() -> None:
    """Send what was kept for this store; what cannot be sent stays, with one line that says why.

    Raises:
        TrackingError: The store cannot be used.
    """
    if not _entries():
        return
    from . import store  # MLflow

    store.connect()
    with _lock():
        for entry in _entries():
            try:
                _send(entry)
            except TrackingError as error:
                print(f"{entry}: not sent yet: {error}", file=sys.stderr)


def _send(entry: Path) -> None:
    from . import runs, store  # MLflow

    record = json.loads((entry / _RECORD).read_text(encoding="utf-8"))
    if record["store"] != place.name():
        return
    if not store.is_finished(record["run"], record["experiment"], RESENT_TAG):
        with runs.replace_run(record["name"], record["tags"], record["experiment"]) as run:
            for method, args, kwargs in record["calls"]:
                getattr(run, method)(*_decode(args, entry), **_decode(kwargs, entry))
            run.set_tags({RESENT_TAG: record["run"]})  # not a common tag: nested runs end before this one is whole
        print(f"{record['stage']}: recorded in MLflow, which an earlier command could not do")
    shutil.rmtree(entry)


def _encode(value: Any, folder: Path) -> Any:
    """Return a value as JSON; bytes, arrays and the contents of paths become files in `folder`."""
    if isinstance(value, (list, tuple)):
        return [_encode(one, folder) for one in value]
    if isinstance(value, Mapping):
        return {"map": {name: _encode(one, folder) for name, one in value.items()}}
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in _CONTENTS.values():
        return {"contents": type(value).__name__, "fields": _encode(vars(value), folder)}
    if not isinstance(value, (bytes, np.ndarray, Path)):
        return value
    place = folder / str(len(list(folder.iterdir())))
    if isinstance(value, Path):
        place.mkdir()
        if value.is_dir():
            shutil.copytree(value, place / value.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(value, place / value.name)
        return {"path": f"{place.name}/{value.name}"}
    place.write_bytes(value if isinstance(value, bytes) else value.tobytes())
    if isinstance(value, bytes):
        return {"bytes": place.name}
    return {"array": place.name, "type": value.dtype.str, "shape": value.shape}


def _decode(value: Any, folder: Path) -> Any:
    """Return what `_encode` was given; tuples are lists."""
    if isinstance(value, list):
        return [_decode(one, folder) for one in value]
    if not isinstance(value, dict):
        return value
    if "map" in value:
        return {name: _decode(one, folder) for name, one in value["map"].items()}
    if "contents" in value:
        return _CONTENTS[value["contents"]](**_decode(value["fields"], folder))
    if "path" in value:
        return folder / value["path"]
    if "bytes" in value:
        return (folder / value["bytes"]).read_bytes()
    return np.frombuffer((folder / value["array"]).read_bytes(), value["type"]).reshape(value["shape"])


def _entries() -> list[Path]:
    """Return the folders of the records that are whole, oldest first."""
    return sorted(path.parent for path in _home().glob(f"[!.]*/{_RECORD}"))


def _home() -> Path:
    return place.root() / OUTBOX


def _lock() -> contextlib.AbstractContextManager[None]:
    return process.exclusive(_home(), 600, f"{_home()}: another process is still at work there")
