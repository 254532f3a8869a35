"""A stage's run: begun before its work, and sent later if the store fails meanwhile."""

import contextlib
import os
import sys
from collections.abc import Iterator

from . import ledger, outbox
from .errors import TrackingError
from .runs import Run, start_run


@contextlib.contextmanager
def stage_run(stage: str) -> Iterator[Run]:
    """Run a stage inside an MLflow run; queue its record if the store fails meanwhile.

    Raises:
        TrackingError: The store cannot be used before the work begins; or fails later in a run that `mlflow run` has
            started, which would take an end without error for a whole run.
    """
    outbox.send()
    ledger.mark(stage)
    run = None
    try:
        with start_run(stage, {}, journal=[]) as run:
            yield run
        if run.outage:
            outbox.keep(stage, run)
            line = f"{stage}: done, but not recorded: {run.outage}; its record is kept, and the next command sends it"
            if "MLFLOW_RUN_ID" in os.environ:
                raise TrackingError(line)
            print(line, file=sys.stderr)
    finally:
        if run is None or (run.ended and not run.outage):
            ledger.unmark(stage)
