"""The file in which a training's state is kept."""

from pathlib import Path

import pytest
import torch

from pipeline.training.checkpoint import Checkpoint


def test_a_state_comes_back(tmp_path: Path) -> None:
    state = {"loss": torch.tensor([[1.0, float("nan")], [float("inf"), 3]]).T, "epoch": torch.tensor(3)}
    Checkpoint(tmp_path / "runs" / "one.checkpoint").save(state)
    back = Checkpoint(tmp_path / "runs" / "one.checkpoint").load()
    assert back
    assert back.keys() == state.keys()
    assert all(torch.equal(state[name].nan_to_num(7), back[name].nan_to_num(7)) for name in state)


def test_it_is_due_when_its_seconds_have_passed_since_the_last_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 109.0, 110.0, 110.0, 119.0, 120.0])
    monkeypatch.setattr("pipeline.training.checkpoint.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("pipeline.training.checkpoint.SECONDS", 10)
    checkpoint = Checkpoint(tmp_path / "one.checkpoint")
    assert [checkpoint.is_due(), checkpoint.is_due()] == [False, True]
    checkpoint.save({"loss": torch.rand(1)})
    assert [checkpoint.is_due(), checkpoint.is_due()] == [False, True]


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 40])
def test_a_missing_or_damaged_file_is_no_state(tmp_path: Path, content: bytes | None) -> None:
    checkpoint = Checkpoint(tmp_path / "one.checkpoint")
    if content is not None:
        checkpoint.path.write_bytes(content)
    assert checkpoint.load() is None


def test_where_it_cannot_be_written_training_goes_on_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.checkpoint.SECONDS", 0)
    (tmp_path / "runs").write_text("in the way", encoding="utf-8")
    checkpoint = Checkpoint(tmp_path / "runs" / "one.checkpoint")
    assert checkpoint.is_due()
    checkpoint.save({"loss": torch.rand(1)})
    assert not checkpoint.is_due()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{checkpoint.path}: cannot be written: ")
    assert line.endswith("; a training that is killed will start over")
