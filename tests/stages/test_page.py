"""The report is one file, which a browser draws without network, on a phone and by keyboard."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright

from pipeline.network.activations import BINS
from pipeline.params import VARIANTS, Params, Variant
from pipeline.stages.evaluate import page as report
from pipeline.stages.evaluate import tested as testing
from pipeline.training.history import History

CHROMIUM = shutil.which(os.environ.get("CHROMIUM", "chromium"))
EPOCHS, ANSWER = 3, "# The answer\n\n| a | b |\n| --- | --- |\n| 1 | </script> |\n"
CONTRASTS = """() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (colour) => colour.map(channel).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const texts = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility() &&
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const cells = [...document.querySelectorAll(".mark-rect.role-mark path[aria-label]")];
  const inside = (one, x, y) => one.left < x && x < one.right && one.top < y && y < one.bottom;
  return texts.map((element) => {
    const style = getComputedStyle(element), svg = element instanceof SVGElement;
    const box = element.getBoundingClientRect(), x = box.left + box.width / 2, y = box.top + box.height / 2;
    const cell = svg && cells.find((each) => inside(each.getBoundingClientRect(), x, y));
    const [one, other] = [svg ? style.fill : style.color, cell ? getComputedStyle(cell).fill : "rgb(255, 255, 255)"]
      .map((colour) => light(rgb(colour)) + 0.05);
    return [element.textContent.trim().slice(0, 30), Math.max(one, other) / Math.min(one, other)];
  });
}"""


def results(
    params: Params, epochs: int = EPOCHS, steps: int = 6
) -> tuple[dict[Variant, History], dict[Variant, testing.Tested]]:
    random, seeds = np.random.default_rng(0), params.train.seeds
    n, kinds = len(seeds), ("pre_activation", "activation", "normalised")
    histories: dict[Variant, History] = {}
    tested: dict[Variant, testing.Tested] = {}
    for variant in VARIANTS:
        names = [f"layer{layer}.{kind}" for layer in (1, 2) for kind in kinds[: 3 if variant == "batchnorm" else 2]]
        histories[variant] = History(
            seeds,
            random.uniform(0.1, 2, (n, steps)),
            random.uniform(0.1, 2, (n, epochs + 1)),
            random.uniform(0.1, 0.9, (n, epochs + 1)),
            {name: random.integers(0, 50, (n, epochs + 1, BINS)) for name in names},
            {f"{name}.saturated": random.uniform(0, 1, (n, epochs + 1)) for name in names if "norm" not in name},
        )
        accuracy = random.uniform(0.1, 0.9, n)
        accuracy[0] = np.nan if variant == "plain" else accuracy[0]
        confusion = random.integers(0, 9, (n, 10, 10)) + 100 * np.eye(10, dtype=int)
        tested[variant] = testing.Tested(
            accuracy, accuracy, np.ones((n, 5), bool), np.zeros(n), confusion, np.ones((n, 5))
        )
    histories["plain"].train_loss[0, 2:] = np.nan
    return histories, tested


def data_of(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_equal_results_have_equal_bytes_and_nothing_is_loaded(params: Callable[..., Params]) -> None:
    given = params(seeds="0,1,2")
    text = report.page(given, *results(given), 2, ANSWER)
    assert text == report.page(given, *results(given), 2, ANSWER)
    assert "<td>&lt;/script&gt;</td>" in text
    assert not re.search(r'(src|href)="|@import|url\(', text.replace(report._asset("vega.js"), ""))
    histories, tested = results(given)
    data = data_of(text)
    plain, batchnorm = data["curves"]["train_loss"]["values"]
    np.testing.assert_allclose(batchnorm, histories["batchnorm"].train_loss, rtol=1e-3)
    assert plain[0][2:] == [None] * 4
    first = data["histograms"]["tensors"][0]
    counts = histories["plain"].histograms["layer1.pre_activation"].sum(axis=0)
    np.testing.assert_allclose(first["shares"][0], counts / counts.sum(axis=1, keepdims=True), atol=1e-5)
    assert data["errors"][0][0] is None
    np.testing.assert_allclose(data["errors"][1], 100 - 100 * tested["batchnorm"].accuracy, rtol=1e-3)
    assert data["confusions"]["counts"][1] == tested["batchnorm"].confusion.tolist()


def test_hundred_seeds_and_epochs_stay_below_five_megabytes(params: Callable[..., Params]) -> None:
    given = params(seeds=",".join(map(str, range(100))))
    assert len(report.page(given, *results(given, 100, 3000), 2, ANSWER)) < 5_000_000


def test_the_library_is_the_one_of_the_lock() -> None:
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
    from tools import vega

    assert vega.FILE.read_text(encoding="utf-8") == vega.bundle()


@pytest.fixture
def opened(tmp_path: Path, params: Callable[..., Params]) -> Iterator[Page]:
    """The page in Chromium, as wide as a phone; console messages and errors fail the test."""
    if not CHROMIUM:
        pytest.skip("no Chromium; install it, or set CHROMIUM=/path/to/chromium")
    given = params(seeds="0,1,2")
    said: list[str] = []
    file = tmp_path / "report.html"
    file.write_text(report.page(given, *results(given), 2, ANSWER), encoding="utf-8")
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]) as browser:
            page = browser.new_page(viewport={"width": 360, "height": 740})
            page.set_default_timeout(180_000)  # milliseconds, on a machine that is busy
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(file.as_uri())
            page.wait_for_selector("body[data-drawn]")
            yield page
    assert said == []


def test_a_phone_and_a_keyboard_are_enough(opened: Page) -> None:
    assert opened.locator("svg").count() == 8
    assert opened.evaluate("document.documentElement.scrollWidth") == 360
    poor = [(text, ratio) for text, ratio in opened.evaluate(CONTRASTS) if ratio < 4.5]
    assert poor == []
    before = opened.locator("#linear svg").inner_html()
    for _ in range(20):
        opened.keyboard.press("Tab")
        if opened.evaluate("document.activeElement.id") == "epoch":
            break
    opened.keyboard.press("Home")
    assert opened.locator("#epoch_shown").inner_text() == "0 of 3 (before training)"
    assert opened.locator("#epoch").get_attribute("aria-valuetext") == "0 of 3 (before training)"
    opened.wait_for_timeout(100)
    assert opened.locator("#linear svg").inner_html() != before
    opened.locator("#tensor").select_option(label="hidden layer 1: normalised output")
    opened.get_by_text("hidden layer 1: normalised output").nth(1).wait_for()
    opened.locator("#seed").select_option("0")
    assert opened.locator("#confusion_title0").inner_text() == "plain, seed 0: diverged"
    opened.locator("#seed").select_option("2")
    assert "seed 2: accuracy" in opened.locator("#confusion_title1").inner_text()


def test_pointing_at_a_curve_shows_its_values(opened: Page) -> None:
    opened.locator("#train_loss svg").hover()
    tooltip = opened.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    assert re.fullmatch(
        r"iteration\s+\d\s+plain\s+[\d.]+ \(seeds: [\d.]+ to [\d.]+\)\s+Batch Normalization\s+[\d.]+ \(.*\)",
        tooltip.inner_text().strip(),
    )
    assert min(ratio for _, ratio in opened.evaluate(CONTRASTS)) >= 4.5
