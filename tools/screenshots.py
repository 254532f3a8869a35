"""Pictures of the runs in `mlflow ui`, into results/screenshots: `python -m tools.screenshots`.

The web page is served and opened as a reader does it, on `mlflow.db` in the repository root. The browser starts with
what the page remembers of a reader's choices: "Model training", the assistant closed, and the list's columns.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, Route, sync_playwright
from playwright.sync_api import Error as BrowserError

from pipeline.records import saved_view

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "results" / "screenshots"
EXPERIMENT = "0"
VARIANTS = ("plain", "batchnorm")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "/usr/bin/chromium")
FLAGS = "disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync"
STARTED, SHOWN, STOPPED = 120, 60, 10  # seconds to wait for the server, for a page, and for the server's end
WIDTH, MARGIN = 1600, 24
CARD = "experiment-view-compare-runs-card"
TROUBLE = re.compile("something went wrong|page not found|can't find|failed to load|error loading", re.IGNORECASE)


class PictureError(Exception):
    """What keeps the pictures from being taken, in one line."""


def main() -> int:
    """Take all pictures; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        executable = _chromium()
        if not (ROOT / "mlflow.db").is_file():
            raise PictureError("no mlflow.db in the repository root; run `dvc repro` first")
        with _server() as address:
            runs = {variant: _newest(address, variant) for variant in VARIANTS}
            with _browser(executable) as browser:
                _pictures(browser, address, runs)
    except PictureError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 2
    return 0


def _pictures(browser: Browser, address: str, runs: dict[str, str]) -> None:
    listed = f"/experiments/{EXPERIMENT}/runs"
    variants = f"{listed}?viewStateShareKey={saved_view.KEY}&compareRunsMode=CHART&workflowType=machine_learning"

    def take(name: str, path: str, state: dict[str, Any], ready: Callable[[Page], Locator], height: int) -> None:
        with _page(browser, address, state, height) as page:
            try:
                page.goto(f"{address}/#{path}")
                _save(page, name, ready(page))
            except BrowserError as error:
                raise PictureError(f"{name}.png: {_reason(page, error)}") from error

    take("runs", listed, {"selectedColumns": saved_view.COLUMNS}, _list_ready, 1000)
    take("compare", variants, {}, _variants_ready, 1900)
    take("run", f"{listed}/{runs['batchnorm']}", {}, _run_ready, 1750)
    take("sliders", f"{listed}/{runs['batchnorm']}/model-metrics", {}, _sliders_ready, 700)


def _list_ready(page: Page) -> Locator:
    for name in saved_view.CURVES:
        page.get_by_test_id(f"sort-header-{name}").wait_for()
    for variant in VARIANTS:
        page.get_by_role("link", name=f"train@{variant}").first.wait_for()
    return page.get_by_test_id("experiment-view-table-run-color").last


def _variants_ready(page: Page) -> Locator:
    for name in saved_view.CURVES:
        card = page.get_by_test_id(CARD).filter(has=page.get_by_role("heading", name=name, exact=True))
        card.locator(".scatterlayer .trace").nth(len(VARIANTS) - 1).wait_for(state="attached")
    return _images_ready(page)


def _images_ready(page: Page) -> Locator:
    page.locator("img[src^='blob:'], img[src*='get-artifact']").nth(3).wait_for()
    page.wait_for_function("Array.from(document.querySelectorAll('img')).every(image => image.naturalWidth)")
    return page.get_by_test_id(CARD).last


def _sliders_ready(page: Page) -> Locator:
    page.get_by_test_id(CARD).first.wait_for()
    page.get_by_placeholder("Search metric charts").fill("^layer")
    title = page.get_by_role("heading", name="layer2_activation", exact=True)
    page.get_by_test_id(CARD).filter(has=title).get_by_role("button").first.click()  # full screen
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("spinbutton").fill("5")
    dialog.get_by_role("spinbutton").blur()
    picture = dialog.locator("img").first
    picture.wait_for()
    picture.scroll_into_view_if_needed()
    return dialog


def _run_ready(page: Page) -> Locator:
    for title in ("Metrics", "Parameters", "Logged models"):
        page.get_by_text(re.compile(rf"^{title} \([1-9]\d*\)$")).wait_for()
    for title in ("Datasets", "Tags"):
        page.get_by_text(title, exact=True).first.wait_for()
    return page.get_by_role("link", name="model", exact=True).last


def _save(page: Page, name: str, bottom: Locator) -> None:
    """Write the visible page down to a little below an element."""
    before, picture = b"", page.screenshot()
    deadline = time.monotonic() + SHOWN
    while picture != before and time.monotonic() < deadline:  # until it stands still
        page.wait_for_timeout(500)
        before, picture = picture, page.screenshot()
    if page.get_by_text(TROUBLE).count():
        raise PictureError(f"{name}.png: {_reason(page, BrowserError(''))}")
    box = bottom.bounding_box() or {"y": 0.0, "height": 0.0}
    height = min(page.evaluate("window.innerHeight"), box["y"] + box["height"] + MARGIN)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    print(path.relative_to(ROOT))


def _reason(page: Page, error: BrowserError) -> str:
    """Say in one line what the page shows instead, or what was waited for in vain."""
    shown = page.get_by_text(TROUBLE)
    if shown.count():
        return f"the page shows an error: {' '.join((shown.first.text_content() or '').split())[:120]}"
    awaited = re.search(r"waiting for (.*)", error.message) or re.search(r"(.*)", error.message)
    return f"the page does not show what it should: {awaited.group(1)[:160] if awaited else ''}"


@contextlib.contextmanager
def _page(browser: Browser, address: str, state: dict[str, Any], height: int) -> Iterator[Page]:
    """Open a page in a fresh profile that remembers `state`; requests to other machines and telemetry are refused."""
    memory = {
        "mlflow.workflowType_v1": '"machine_learning"',
        "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
        "mlflow.assistant.panelOpen_v1": "false",
        f'MLflowLocalStorage-1.1-ExperimentPage-["{EXPERIMENT}"]-ReactComponentState': json.dumps(state),
    }

    def guard(route: Route) -> None:
        url = route.request.url
        local = url.startswith(f"{address}/") and "telemetry" not in url.lower()
        (route.continue_ if local else route.abort)()

    context = browser.new_context(viewport={"width": WIDTH, "height": height}, locale="en-GB")
    try:
        context.set_default_timeout(1000 * SHOWN)
        context.add_init_script(f"Object.entries({json.dumps(memory)}).forEach(pair => localStorage.setItem(...pair))")
        context.route("**/*", guard)
        yield context.new_page()
    finally:
        context.close()


@contextlib.contextmanager
def _browser(executable: str) -> Iterator[Browser]:
    flags = [f"--{flag}" for flag in FLAGS.split()] + ["--no-sandbox"] * (os.geteuid() == 0)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=flags)
        except BrowserError as error:
            raise PictureError(f"{executable} does not start: {error.message.splitlines()[0]}") from error
        with browser:
            yield browser


def _chromium() -> str:
    given = os.environ.get("CHROMIUM")
    for place in [given] if given else BROWSERS:
        if found := shutil.which(place):
            return found
    raise PictureError("no Chromium; install Debian's package chromium, or set CHROMIUM=/path/to/chromium")


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """Run `mlflow ui` in the repository root, and end it and all that it has started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            _wait(server, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(server)


def _wait(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + STARTED
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise PictureError(f"`mlflow ui` ended with exit code {server.returncode}; run it by hand to see why")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310
            return
        time.sleep(0.2)
    raise PictureError(f"`mlflow ui` did not answer within {STARTED} s")


def _end(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOPPED)


def _newest(address: str, variant: str) -> str:
    """Return the newest finished training of a variant (the runs of single seeds have no tag `stage`)."""
    wanted = {
        "experiment_ids": [EXPERIMENT],
        "filter": f"tags.stage = 'train@{variant}' and attributes.status = 'FINISHED'",
        "order_by": ["attributes.start_time DESC"],
        "max_results": 1,
    }
    request = urllib.request.Request(  # noqa: S310
        f"{address}/api/2.0/mlflow/runs/search", json.dumps(wanted).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            runs = json.load(answer).get("runs", [])
    except (OSError, ValueError) as error:
        raise PictureError(f"`mlflow ui` does not list the runs: {error}") from error
    if not runs:
        raise PictureError(f"no finished run train@{variant} in mlflow.db; run `dvc repro` first")
    found: str = runs[0]["info"]["run_id"]
    return found


if __name__ == "__main__":
    sys.exit(main())
