"""A stage's run: begun before its work, and sent later if the store fails meanwhile."""

import contextlib
import sys
from collections.abc import Iterator

from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from . import ledger, outbox, provenance, store
from .errors import TrackingError
from .runs import Run, start_run


@contextlib.contextmanager
def stage_run(stage: str) -> Iterator[Run]:
    """Run a stage inside an MLflow run; queue its record if the store fails meanwhile.

    MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING has MLflow log the machine's load meanwhile.

    Raises:
        TrackingError: The store cannot be used before the work begins; or fails later and the record cannot be kept,
            or the run is one that `mlflow run` has started, which would take an end without error for a whole run.
    """
    outbox.send()
    ledger.mark(stage)
    run = None
    try:
        with start_run(stage, {}, journal=[]) as run, _system_metrics(run):
            yield run
        if run.outage:
            _keep(stage, run, run.outage)
    finally:
        if run is None or (run.ended and not run.outage):
            ledger.unmark(stage)


def _keep(stage: str, run: Run, outage: TrackingError) -> None:
    line = f"{stage}: done, but not recorded: {outage}"
    try:
        outbox.keep(stage, run)
    except TrackingError as error:
        raise TrackingError(f"{line}; nor can its record be kept: {error}") from None
    line += "; its record is kept, and the next command sends it"
    if provenance.given_run():
        raise TrackingError(line)
    print(line, file=sys.stderr)


@contextlib.contextmanager
def _system_metrics(run: Run) -> Iterator[None]:
    """Log the machine's load if MLflow's switch asks for it, which its client API does not heed."""
    with store.translate_errors():
        wanted = MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get()  # type: ignore[no-untyped-call]
    if not wanted:
        yield
        return
    with store.translate_errors():
        monitor = SystemMetricsMonitor(run.run_id, resume_logging=True)  # type: ignore[no-untyped-call]
        monitor.start()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        monitor.finish()  # type: ignore[no-untyped-call]
