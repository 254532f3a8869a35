"""The command `train`: one training of a variant at a time, whose record is of its own files."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.tracking.process import exclusive
from tests.samples import enter
from tests.sweeping import make


def test_two_trainings_of_a_variant_at_once_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    enter(tmp_path, monkeypatch)
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("pipeline.commands.train.WAIT", 0.1)
    with exclusive(tmp_path / "runs" / "plain", 0, "taken"):
        done = CliRunner().invoke(main, ["train", "plain"])
    assert (done.exit_code, done.stderr) == (2, "Error: runs/plain: another process writes it\n")
    assert list((tmp_path / "runs").iterdir()) == []
    assert not (tmp_path / "mlflow.db").exists()
