"""The command `evaluate`: one comparison at a time writes results/lab."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import evaluate
from pipeline.tracking.process import exclusive
from tests.samples import PARAMS, enter


def test_two_comparisons_at_once_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    (tmp_path / "params.yaml").write_bytes(PARAMS.read_bytes())
    (tmp_path / "results").mkdir()
    for name in ("load_images", "load_inputs"):
        monkeypatch.setattr(evaluate, name, lambda *_: None)
    monkeypatch.setattr(evaluate, "WAIT", 0.1)
    with exclusive(tmp_path / "results" / "lab", 0, "taken"):
        done = CliRunner().invoke(main, ["evaluate"])
    assert (done.exit_code, done.stderr) == (2, "Error: results/lab: another process writes it\n")
    assert list((tmp_path / "results").iterdir()) == []
