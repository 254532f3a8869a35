"""The output of DVC's stage `track`: which runs MLflow has, and which stages have begun one and not ended it.

A stage that is killed and then restored from DVC's cache runs no code that could end its run. Its mark makes this
output differ from what dvc.lock says, so that `dvc repro` runs `track`, which ends the run.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LEDGER = Path("mlruns/tracked.json")  # beside the embedded store, to go when that goes
_UNFINISHED = "unfinished"


def write(digests: Mapping[str, str]) -> None:
    """Write the digest of every stage's recorded outputs, and no mark."""
    _write(dict(digests))


def mark(stage: str) -> None:
    """Note that a stage has begun a run, if DVC runs it; other commands leave `dvc status` as it is."""
    if "DVC_STAGE" in os.environ:
        ledger = _read()
        _write({**ledger, _UNFINISHED: sorted({*ledger.get(_UNFINISHED, []), stage})})


def unmark(stage: str) -> None:
    """Note that the run has ended: the file is again what it was."""
    ledger = _read()
    if stage not in ledger.get(_UNFINISHED, []):
        return
    rest = [other for other in ledger.pop(_UNFINISHED) if other != stage]
    if rest:
        ledger[_UNFINISHED] = rest
    if ledger:
        _write(ledger)
        return
    LEDGER.unlink()
    with contextlib.suppress(OSError):  # something else is there
        LEDGER.parent.rmdir()


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
