"""The process that makes a run: its identity, whether it is dead, and what it must not be interrupted in."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psutil
from filelock import FileLock, Timeout

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def machine() -> str:
    """Return a name that tells this machine from others: its host name and, where it has one, its id."""
    return f"{socket.gethostname()}/{_line('/etc/machine-id')}"


def identity() -> str:
    """Return a name that no other process ever has: machine, boot, namespace, process id and start time."""
    process = psutil.Process()
    return f"{machine()} {_boot()} {_namespace()} {process.pid} {_since_boot(process):.2f}"


def is_dead(process: str) -> bool:
    """Return whether the process with this identity is certainly dead; one on another machine may be alive."""
    try:
        where, boot, namespace, number, started = process.split()
    except ValueError:
        return False
    if where != machine():
        return False
    if boot != _boot():
        return True
    if namespace != _namespace():  # a container's processes cannot be seen from outside, nor those outside from there
        return False
    try:
        found = psutil.Process(int(number))
        return found.status() == psutil.STATUS_ZOMBIE or abs(_since_boot(found) - float(started)) > 1
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def is_open_elsewhere(path: Path, before: float, *, servers: bool = False) -> bool:
    """Return whether another process of this user, started before a time in seconds since 1970, has a file open.

    MLflow's `servers`, which never end other processes' runs, count only if asked for.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            command = process.cmdline()
            server = {"ui", "server"} & set(command) or any("mlflow.server" in word for word in command)
            other = process.pid != os.getpid() and (servers or not server) and _started(process) < before
            if other and any(Path(file.path) == path for file in process.open_files()):
                return True
    return False


@contextlib.contextmanager
def exclusive(path: Path, timeout: float, taken: str) -> Iterator[None]:
    """Hold an exclusive lock on `path`, a file `.NAME.lock` beside it; a dead holder releases it.

    Where that cannot be written, neither can `path`: nothing needs a guard, and nothing is held.

    Raises:
        TimeoutError: Another process still holds it after `timeout` seconds. The text is `taken`.
    """
    file = path.absolute().with_name(f".{path.name}.lock")
    new = [folder for folder in file.parents if not os.access(folder, os.F_OK)]
    try:
        lock = _acquire(file, timeout)
    except Timeout:
        raise TimeoutError(taken) from None
    except OSError:
        lock = None
    try:
        yield
    finally:
        if lock:
            with contextlib.suppress(OSError):
                file.unlink()  # while it is held: whoever waits for it notices
            lock.release()
            for folder in new:
                with contextlib.suppress(OSError):  # it has got content
                    folder.rmdir()


def _acquire(file: Path, timeout: float) -> FileLock:
    """Lock a file that no holder has removed meanwhile; its folder is made."""
    end = time.monotonic() + timeout
    while True:
        descriptors: list[int] = []
        left = max(0.0, end - time.monotonic())
        # All users of a shared folder may lock it.
        lock = FileLock(file, timeout=left, mode=0o666, on_acquired=descriptors.append)
        with contextlib.suppress(FileNotFoundError):  # a holder has removed it, or its folder
            file.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            if os.path.samestat(os.fstat(descriptors[0]), file.stat()):
                return lock
        lock.release()


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    handlers = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])


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
    """Return when a process was started, in seconds since 1970; psutil's answer is up to a second early on Linux."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + _since_boot(process)
    return float(process.create_time())


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
