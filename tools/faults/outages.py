"""A tracking server that goes away: a proxy in front of a real `mlflow server`, which drops what passes through it."""

import contextlib
import random
import select
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tools import sandbox
from tools.faults import project
from tools.faults.kills import COMMANDS, Bench, Fault

STARTED = 90.0  # seconds that the server may take to start
NEXT = ("python", "-m", "pipeline", "download")  # any command sends what an earlier one has kept
KINDS = ("train", "sweep", "run")


class Proxy:
    """Passes connections on to a port of this machine, until it is told to drop them."""

    def __init__(self, target: int) -> None:
        """Listen on a free port."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._up = True
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def down(self) -> None:
        """Drop all connections and those that are made from now on."""
        self._up = False
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def up(self) -> None:
        """Pass connections on again."""
        self._up = True

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            if not self._up:
                return
            with socket.create_connection(("127.0.0.1", self._target)) as far:
                self._open |= {near, far}
                self._pass(near, far)
                self._open -= {near, far}

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        while self._up:
            for ready in select.select([near, far], [], [], 1.0)[0]:
                if not (content := ready.recv(65536)):
                    return
                other[ready].sendall(content)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[int]:
    """Serve a store in `folder` on a free port of this machine, with artifacts, and return the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "log").open("wb") as log:
        process = sandbox.start(folder, *command, log=log)
        try:
            _wait(f"http://127.0.0.1:{port}/health")
            yield port
        finally:
            process.terminate()
            process.wait(30)


def outage(bench: Bench, served: Path, proxy: Proxy, command: str, seed: int) -> Fault:
    """Let the server go away at a random moment of a command and come back after it; compare what it holds then."""
    wanted = bench.undisturbed(command)
    moment = random.Random(f"{command} {seed}").uniform(0.3, 0.95) * wanted.seconds
    folder = bench.fresh(command, store=False)
    project.empty(served)
    address = f"http://127.0.0.1:{proxy.port}"
    problems = []
    with tempfile.TemporaryFile() as log:
        process = sandbox.start(folder, *COMMANDS[command], log=log, MLFLOW_TRACKING_URI=address)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        proxy.down()
        code = process.wait(300)
        proxy.up()
        log.seek(0)
        told = log.read().decode()
    if "Traceback" in told or (code and address not in told):
        problems.append(f"ended with {code}, and not with one line that names the address: {told[-2000:]}")
    for again in (*[COMMANDS[command]] * bool(code), NEXT):
        done = sandbox.call(folder, *again, MLFLOW_TRACKING_URI=address)
        if done.returncode:
            problems.append(f"{' '.join(again)} ended with {done.returncode}: {done.stderr[-2000:]}")
    if project.outputs(folder) != wanted.outputs:
        problems.append("other outputs than undisturbed")
    found = {text: count for text, count in project.records(served).items() if not text.startswith("download ")}
    if found != wanted.records:
        problems.append(f"{sum(found.values())} finished records, expected {sum(wanted.records.values())} like them")
    if running := project.statuses(served)["RUNNING"]:
        problems.append(f"{running} runs stay RUNNING")
    if kept := [path.name for path in (folder / "mlruns" / "unsent").glob("*/")]:
        problems.append(f"not sent: {', '.join(kept)}")
    return bench.judge(f"{command}, server gone", moment, seed, folder, problems)


def _wait(address: str) -> None:
    end = time.monotonic() + STARTED
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
