"""When a command must stop: with the `dvc` or `mlflow` that has started it."""

import contextlib
import signal
import threading
import time
from pathlib import Path

import psutil

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PARENTS = {"dvc", "mlflow"}


def exit_with_parent() -> None:
    """Stop this process, as SIGTERM does, when the `dvc` or `mlflow` that has started it dies."""
    for process in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):
            if _PARENTS & {Path(word).name for word in process.cmdline()[:3]}:
                threading.Thread(target=_stop_after, args=[process], daemon=True).start()
                return


def _stop_after(process: psutil.Process) -> None:
    while _is_alive(process):
        time.sleep(0.5)
    main = threading.main_thread().ident
    if main:  # to this thread, whose sleeping and waiting the signal must interrupt
        signal.pthread_kill(main, signal.SIGTERM)


def _is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; psutil tells a process from another that has got its number."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
