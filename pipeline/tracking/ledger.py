"""The output of DVC's stage `track`: which runs MLflow has, and which stages have begun one and not ended it.

A stage that is killed and then restored from DVC's cache runs no code that could end its run. Its mark makes this
output differ from what dvc.lock says, so that `dvc repro` runs `track`, which ends the run.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import process
from .errors import TrackingError

LEDGER = Path("mlruns/tracked.json")  # beside the embedded store, to go when that goes
_UNFINISHED = "unfinished"
_WAIT = 60.0  # seconds


def write(digests: Mapping[str, str]) -> None:
    """Write the digest of every stage's recorded outputs, and no mark.

    Raises:
        TrackingError: Another process takes too long to write the ledger.
    """
    with _lock():
        _write(dict(digests))


def mark(stage: str) -> None:
    """Note that a stage has begun a run, if DVC runs it; other commands leave `dvc status` as it is.

    Raises:
        TrackingError: Another process takes too long to write the ledger.
    """
    if "DVC_STAGE" in os.environ:
        with _lock():
            ledger = _read()
            _write({**ledger, _UNFINISHED: sorted({*ledger.get(_UNFINISHED, []), stage})})


def unmark(stage: str) -> None:
    """Note that the run has ended: the file is again what it was.

    Raises:
        TrackingError: Another process takes too long to write the ledger.
    """
    if stage not in _read().get(_UNFINISHED, []):
        return
    with _lock():
        ledger = _read()
        rest = [other for other in ledger.pop(_UNFINISHED, []) if other != stage]
        if rest:
            ledger[_UNFINISHED] = rest
        if ledger:
            _write(ledger)
        else:
            LEDGER.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else is there
        LEDGER.parent.rmdir()


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Keep other processes, such as a second `dvc repro` of another stage, from writing the ledger."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(process.exclusive(LEDGER, _WAIT, f"{LEDGER}: another process is still writing it"))
        except TimeoutError as error:
            raise TrackingError(str(error)) from None
        yield


def _read() -> dict[str, Any]:
    try:
        content = json.loads(LEDGER.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(content: Mapping[str, Any]) -> None:
    part = LEDGER.with_name(f".{LEDGER.name}.part")
    LEDGER.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(LEDGER)
