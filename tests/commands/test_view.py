"""The answer in two lines, and where the saved view is."""

import contextlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import view
from tests.samples import ROOT

VIEW = "/#/experiments/0/runs?viewStateShareKey=variants&compareRunsMode=CHART&workflowType=machine_learning"


@pytest.fixture(autouse=True)
def _no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")


def test_the_answer_is_two_lines_and_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    first, second, link = CliRunner().invoke(main, ["answer"]).stdout.splitlines()
    headline = (ROOT / "results" / "lab" / "answer.md").read_text(encoding="utf-8").splitlines()[2]
    assert f"{first} {second}" == headline
    assert first.endswith(":")
    assert link.endswith(f"http://127.0.0.1:5000{VIEW}")


def test_without_an_answer_it_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["answer"])
    assert result.exit_code != 0
    assert "no answer yet; run `dvc repro`" in result.output


@pytest.mark.parametrize("store", ["http://mlflow.example.org", "https://me:secret@mlflow.example.org/"])
def test_a_tracking_server_has_the_pages(monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    (line,) = CliRunner().invoke(main, ["view"]).stdout.splitlines()
    assert line.endswith(f"mlflow.example.org{VIEW}")
    assert "secret" not in line


def test_a_browser_opens_where_there_is_a_display_when_the_pages_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    opened: list[str] = []

    def answer(address: str, timeout: float) -> contextlib.nullcontext[None]:
        del timeout
        asked.append(address)
        if len(asked) < 3:
            raise OSError("not yet")
        return contextlib.nullcontext()

    monkeypatch.setattr("urllib.request.urlopen", answer)
    monkeypatch.setattr("webbrowser.open", opened.append)
    CliRunner().invoke(main, ["view"])
    assert not opened, "there is no display"
    view.open_when_served(f"http://127.0.0.1:5000{VIEW}", wait=lambda _: None)
    assert asked == ["http://127.0.0.1:5000/health"] * 3
    assert opened == [f"http://127.0.0.1:5000{VIEW}"]
