"""MLflow's pages in a browser: served on a store as a reader does it, and opened in headless Chromium.

Needs Debian's Chromium, or another that CHROMIUM names. Nothing outside this machine is asked for anything.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, sync_playwright
from playwright.sync_api import Error as BrowserError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "/usr/bin/chromium")
FLAGS = "disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync"
STARTED, SHOWN, STOPPED = 120, 60, 10  # seconds to wait for the server, for a page, and for the server's end
WIDTH, HEIGHT = 1600, 1000
CARD = "experiment-view-compare-runs-card"
TROUBLE = re.compile("something went wrong|page not found|can't find|failed to load|error loading", re.IGNORECASE)


class PageError(Exception):
    """What keeps the pages from being shown, in one line."""


def find_chromium() -> str | None:
    """Return the path of Chromium, or of what CHROMIUM names; None without one."""
    given = os.environ.get("CHROMIUM")
    return next((found for place in ([given] if given else BROWSERS) if (found := shutil.which(place))), None)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Run `mlflow ui` in a project's folder, yield its address, and end it and all that it has started.

    Raises:
        PageError: It does not answer.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait(server, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(server)


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium, and end it.

    Raises:
        PageError: There is none, or it does not start.
    """
    executable = find_chromium()
    if not executable:
        raise PageError("no Chromium; install Debian's package chromium, or set CHROMIUM=/path/to/chromium")
    flags = [f"--{flag}" for flag in FLAGS.split()] + ["--no-sandbox"] * (os.geteuid() == 0)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=flags)
        except BrowserError as error:
            raise PageError(f"{executable} does not start: {error.message.splitlines()[0]}") from error
        with browser:
            yield browser


@contextlib.contextmanager
def open_page(
    browser: Browser, address: str, memory: Mapping[str, str] | None = None, height: int = HEIGHT
) -> Iterator[Page]:
    """Open a page in a fresh profile; requests to other machines and telemetry are refused.

    Args:
        browser: The browser.
        address: That of the server.
        memory: What the pages remember of a reader's choices, if anything.
        height: That of the window, in pixels.
    """

    def guard(route: Route) -> None:
        url = route.request.url
        local = url.startswith(f"{address}/") and "telemetry" not in url.lower()
        (route.continue_ if local else route.abort)()

    items = json.dumps(dict(memory or {}))
    context = browser.new_context(viewport={"width": WIDTH, "height": height}, locale="en-GB")
    try:
        context.set_default_timeout(1000 * SHOWN)
        context.add_init_script(f"Object.entries({items}).forEach(pair => localStorage.setItem(...pair))")
        context.route("**/*", guard)
        yield context.new_page()
    finally:
        context.close()


def check_page(page: Page) -> None:
    """Check that a page shows no error of its own.

    Raises:
        PageError: It does.
    """
    shown = page.get_by_text(TROUBLE)
    if shown.count():
        text = " ".join((shown.first.text_content() or "").split())
        raise PageError(f"the page shows an error: {text[:120]}")


def _wait(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + STARTED
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise PageError(f"`mlflow ui` ended with exit code {server.returncode}; run it by hand to see why")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310
            return
        time.sleep(0.2)
    raise PageError(f"`mlflow ui` did not answer within {STARTED} s")


def _end(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOPPED)
