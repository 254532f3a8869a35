"""What processes of one machine know of each other: whether one is gone, who goes first, and when to stop."""

import contextlib
import hashlib
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psutil
from filelock import FileLock, Timeout

from pipeline.errors import UserError

STOPS = (signal.SIGINT, signal.SIGTERM)
_MASTERS = {"dvc", "mlflow"}


def machine() -> str:
    """Return what tells this machine from others: its name and, where it has one, its id."""
    return f"{socket.gethostname()}/{_line('/etc/machine-id')}"


def own() -> str:
    """Name this process as no other is ever named: machine, boot, namespace, process id, and when it was started."""
    return _named(psutil.Process())


def gone(name: str) -> bool:
    """Return whether the process of this `name` is surely gone; one of another machine may be at work."""
    try:
        where, boot, namespace, number, started = name.split()
    except ValueError:
        return False
    if where != machine():
        return False
    if boot != _boot():
        return True
    if namespace != _namespace():  # a container's processes cannot be seen from outside, nor those outside from there
        return False
    try:
        process = psutil.Process(int(number))
        return process.status() == psutil.STATUS_ZOMBIE or abs(_since_boot(process) - float(started)) > 1
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def held(path: Path, before: float) -> bool:
    """Return whether a process of this user, other than this one, holds a file open since `before`, seconds of 1970.

    Servers of MLflow do not count: they end no runs of others.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            command = process.cmdline()
            server = {"ui", "server"} & set(command) or any("mlflow.server" in word for word in command)
            other = process.pid != os.getpid() and not server and _started(process) < before
            if other and any(Path(file.path) == path for file in process.open_files()):
                return True
    return False


@contextlib.contextmanager
def alone(path: Path, wait: float, taken: str) -> Iterator[None]:
    """Work on what is in `path` while no other process of this user does; one that dies is none.

    Raises:
        UserError: `taken`, when another is still at it after `wait` seconds.
    """
    name = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:32]
    holder = FileLock(Path(tempfile.gettempdir()) / f"pipeline-{os.getuid()}-{name}.lock", timeout=wait)
    try:
        holder.acquire()
    except Timeout:
        raise UserError(taken) from None
    try:
        yield
    finally:
        holder.release()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    handlers = {number: signal.signal(number, note) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def stop_with_master() -> None:
    """Stop this process, as SIGTERM does, when the `dvc` or `mlflow` that has started it is no more."""
    for process in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):
            if _MASTERS & {Path(word).name for word in process.cmdline()[:3]}:
                threading.Thread(target=_stop_after, args=[process], daemon=True).start()
                return


def _stop_after(process: psutil.Process) -> None:
    name = _named(process)
    while not gone(name):
        time.sleep(0.5)
    main = threading.main_thread().ident
    if main:  # to this thread, whose sleeping and waiting the signal has to break off
        signal.pthread_kill(main, signal.SIGTERM)


def _named(process: psutil.Process) -> str:
    return f"{machine()} {_boot()} {_namespace()} {process.pid} {_since_boot(process):.2f}"


def _boot() -> str:
    return _line("/proc/sys/kernel/random/boot_id") or "-"


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "-"


def _since_boot(process: psutil.Process) -> float:
    """Return when a process was started, in seconds since the boot, which no correction of the clock changes."""
    return float(process.create_time() - psutil.boot_time())


def _started(process: psutil.Process) -> float:
    """Return when a process was started, in seconds of 1970; psutil's own answer is up to a second early on Linux."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + _since_boot(process)
    return float(process.create_time())


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
