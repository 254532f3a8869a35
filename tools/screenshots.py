"""Pictures of the runs in `mlflow ui`, into results/screenshots: `python -m tools.screenshots`.

The pages are opened as a reader does it, on `mlflow.db` in the repository root. The browser starts with what they
remember of a reader's choices: "Model training", the assistant closed, and the list's columns.
"""

import json
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page
from playwright.sync_api import Error as BrowserError

from pipeline.params import VARIANTS
from pipeline.records import saved_view
from tools.pages import CARD, SHOWN, WIDTH, PageError, check_page, open_browser, open_page, serve

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "results" / "screenshots"
EXPERIMENT = "0"
MARGIN = 24


def main() -> int:
    """Take all pictures; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if not (ROOT / "mlflow.db").is_file():
            raise PageError("no mlflow.db in the repository root; run `dvc repro` first")
        with serve(ROOT) as address:
            runs = {variant: _newest(address, variant) for variant in VARIANTS}
            with open_browser() as browser:
                _pictures(browser, address, runs["batchnorm"])
    except PageError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 2
    return 0


def _pictures(browser: Browser, address: str, run: str) -> None:
    listed = f"#/experiments/{EXPERIMENT}/runs"

    def take(name: str, path: str, state: dict[str, Any], ready: Callable[[Page], Locator], height: int) -> None:
        with open_page(browser, address, _memory(state), height) as page:
            try:
                page.goto(f"{address}/{path}")
                _save(page, name, ready(page))
            except BrowserError as error:
                raise PageError(f"{name}.png: {_reason(page, error)}") from error

    take("runs", listed, {"selectedColumns": saved_view.COLUMNS}, _list_ready, 1000)
    take("compare", saved_view.path(EXPERIMENT), {}, variants_ready, 1900)
    take("run", f"{listed}/{run}", {}, _run_ready, 1750)
    take("sliders", f"{listed}/{run}/model-metrics", {}, _sliders_ready, 700)


def _memory(state: dict[str, Any]) -> dict[str, str]:
    return {
        "mlflow.workflowType_v1": '"machine_learning"',
        "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
        "mlflow.assistant.panelOpen_v1": "false",
        f'MLflowLocalStorage-1.1-ExperimentPage-["{EXPERIMENT}"]-ReactComponentState': json.dumps(state),
    }


def _list_ready(page: Page) -> Locator:
    for name in saved_view.CURVES:
        page.get_by_test_id(f"sort-header-{name}").wait_for()
    _both_listed(page)
    return page.get_by_test_id("experiment-view-table-run-color").last


def variants_ready(page: Page) -> Locator:
    """Wait until a page shows the saved view of both variants, and return its last card."""
    _both_listed(page)
    for name in saved_view.CURVES:
        card = page.get_by_test_id(CARD).filter(has=page.get_by_role("heading", name=name, exact=True))
        card.locator(".scatterlayer .trace").nth(len(VARIANTS) - 1).wait_for(state="attached")
    page.locator("img[src^='blob:'], img[src*='get-artifact']").nth(3).wait_for()
    page.wait_for_function("Array.from(document.querySelectorAll('img')).every(image => image.naturalWidth)")
    return page.get_by_test_id(CARD).last


def _both_listed(page: Page) -> None:
    for variant in VARIANTS:
        page.get_by_role("link", name=f"train@{variant}").first.wait_for()


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
    return page.get_by_role("link", name="batchnorm", exact=True).last  # the logged model


def _save(page: Page, name: str, bottom: Locator) -> None:
    """Write the visible page down to a little below an element."""
    before, picture = b"", page.screenshot()
    deadline = time.monotonic() + SHOWN
    while picture != before and time.monotonic() < deadline:  # until it stands still
        page.wait_for_timeout(500)
        before, picture = picture, page.screenshot()
    check_page(page)
    box = bottom.bounding_box() or {"y": 0.0, "height": 0.0}
    height = min(page.evaluate("window.innerHeight"), box["y"] + box["height"] + MARGIN)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    print(path.relative_to(ROOT))


def _reason(page: Page, error: BrowserError) -> str:
    """Say in one line what the page shows instead, or what was waited for in vain."""
    try:
        check_page(page)
    except PageError as shown:
        return str(shown)
    awaited = re.search(r"waiting for (.*)", error.message) or re.search(r"(.*)", error.message)
    return f"the page does not show what it should: {awaited.group(1)[:160] if awaited else ''}"


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
        raise PageError(f"`mlflow ui` does not list the runs: {error}") from error
    if not runs:
        raise PageError(f"no finished run train@{variant} in mlflow.db; run `dvc repro` first")
    found: str = runs[0]["info"]["run_id"]
    return found


if __name__ == "__main__":
    sys.exit(main())
