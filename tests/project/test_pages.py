"""MLflow's pages in a browser, and the examples of docs/mlflow.md, on what `dvc repro` and a sweep leave in a copy.

The views are in a format of MLflow's own, so what counts is what its pages make of them.
"""

import contextlib
import json
import os
import re
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.analysis.figures import COLOURS
from pipeline.params import VARIANTS
from pipeline.records import saved_view
from tools import pages, sandbox
from tools.sandbox import ROOT, output

needs_chromium = pytest.mark.skipif(not pages.find_chromium(), reason="no Chromium")
SERVED = 300  # seconds that `mlflow models serve` may take to start
RATES = ("0.001", "0.1")
ADDRESS = "http://127.0.0.1:5000"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which `dvc repro` has run."""
    folder = sandbox.make(tmp_path_factory.mktemp("pages") / "clone")
    output(folder, "dvc", "repro")
    return folder


@pytest.fixture(scope="module")
def sweep_link(project: Path) -> str:
    """What the command `sweep` prints as the address of its runs."""
    given = ("--grid", f"train.lr={','.join(RATES)}", "--data.holdout", "50", "--name", "rates")
    printed = output(project, "python", "-m", "pipeline", "sweep", *given)
    return printed.splitlines()[-1].rpartition(" ")[2]


@pytest.fixture(scope="module")
def address(project: Path, sweep_link: str) -> Iterator[str]:
    """The pages, served once everything is in the store."""
    assert sweep_link.startswith(f"{ADDRESS}/#/")
    with pages.serve(project) as served:
        yield served


@needs_chromium
def test_the_saved_view_shows_both_variants_their_curves_and_histograms(project: Path, address: str) -> None:
    from tools.screenshots import variants_ready

    link = output(project, "python", "-m", "pipeline", "view").strip()
    assert link == f"{ADDRESS}/{saved_view.path('0')}"
    with pages.open_browser() as browser, pages.open_page(browser, address) as page:  # a fresh profile
        page.goto(link.replace(ADDRESS, address))
        variants_ready(page)
        pages.check_page(page)
        for name in saved_view.CURVES:
            card = page.get_by_test_id(pages.CARD).filter(has=page.get_by_role("heading", name=name, exact=True))
            drawn = card.locator(".scatterlayer .trace path.js-line")
            colours = {colour(drawn.nth(at).get_attribute("style"), "stroke") for at in range(drawn.count())}
            assert colours == {COLOURS[variant].lower() for variant in VARIANTS}


@needs_chromium
def test_a_sweeps_view_shows_the_accuracy_of_its_points_by_variant(sweep_link: str, address: str) -> None:
    with pages.open_browser() as browser, pages.open_page(browser, address) as page:
        page.goto(sweep_link.replace(ADDRESS, address))
        for variant in VARIANTS:
            for rate in RATES:
                page.get_by_role("link", name=f"{variant} lr={rate} [rates]").first.wait_for()
        points = page.get_by_test_id(pages.CARD).locator(".scatterlayer .trace .points path")
        points.nth(len(VARIANTS) * len(RATES) - 1).wait_for(state="attached")
        pages.check_page(page)
        colours = Counter(colour(points.nth(at).get_attribute("style"), "fill") for at in range(points.count()))
        assert colours == {COLOURS[variant].lower(): len(RATES) for variant in VARIANTS}
        assert page.get_by_text(re.compile(r" seed \d+ \[rates\]")).count() == 0


def colour(style: str | None, name: str) -> str:
    """A colour of a style, such as `fill: rgb(0, 114, 178);`, in hexadecimal digits."""
    found = re.search(rf"\b{name}: rgb\((\d+), (\d+), (\d+)\)", style or "")
    return "#" + "".join(f"{int(part):02x}" for part in found.groups()) if found else ""


def example(language: str) -> str:
    """The block of docs/mlflow.md that loads or serves the model, for the copy's data set."""
    page = (ROOT / "docs" / "mlflow.md").read_text(encoding="utf-8")
    (block,) = (text for text in re.findall(rf"```{language}\n(.*?)```", page, re.S) if "models:/" in text)
    return str(block).replace("models:/mnist-", "models:/custom-")


def test_the_python_example_of_the_docs_gives_classes_probabilities_and_logits(project: Path) -> None:
    shown = """
assert model.predict(images).shape == (2,)
probabilities = model.predict(images, params={"probabilities": True})
assert probabilities.shape == (2, 10)
import torch
logits = network(torch.zeros(2, 784))
assert np.allclose(probabilities, logits.softmax(1).detach(), rtol=1e-4)
"""
    output(project, "python", "-c", example("python") + shown)


def test_the_curl_example_of_the_docs_gets_probabilities(project: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serving, _, asking = example("sh").replace("5001", port).partition("curl")
    with (tmp_path / "log").open("wb") as log:
        server = sandbox.start(project, "sh", "-c", serving, log=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            answer = json.loads(output(project, "sh", "-c", f"curl --silent --show-error {asking}"))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, 9)
            server.wait()
    (probabilities,) = answer["predictions"]
    assert len(probabilities) == 10
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def wait_for(address: str) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + SERVED
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.5)
    raise AssertionError(f"{address}: no answer")
