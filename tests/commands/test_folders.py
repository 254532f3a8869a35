"""Commands that write or read the same folder take turns, so that no record is made of another command's files."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import folders, images
from pipeline.data.images import ImageFiles
from pipeline.params import Data
from pipeline.tracking.process import exclusive
from tests.samples import enter
from tests.sweeping import make
from tools import sandbox

TRAININGS = ["runs/plain", "runs/batchnorm"]
USED = {
    "train plain": TRAININGS[:1],
    "evaluate": [*TRAININGS, "results/lab"],
    "track": ["data/custom", *TRAININGS, "results/lab"],
}


@pytest.mark.parametrize(("command", "folder"), [(command, folder) for command in USED for folder in USED[command]])
def test_a_command_waits_for_who_writes_what_it_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, folder: str
) -> None:
    make(tmp_path)
    enter(tmp_path, monkeypatch)
    for name in ("runs", "results"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(folders, "WAIT", 0.1)
    with exclusive(tmp_path / folder, 0, "taken"):
        done = CliRunner().invoke(main, command.split())
    assert (done.exit_code, done.stderr) == (2, f"Error: {folder}: another process writes it\n")
    assert [path for name in ("runs", "results") for path in (tmp_path / name).iterdir()] == []
    assert not (tmp_path / "mlflow.db").exists()


def test_images_that_another_process_is_writing_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    sandbox.write_images(tmp_path / "data" / "custom", 30, 12, 1)
    (tmp_path / "data" / "mnist").mkdir()
    read = images.load_images

    def half_made(data: Data) -> ImageFiles:
        with pytest.raises(TimeoutError, match="taken"), exclusive(images.folder_of(data), 0, "taken"):
            pass
        return read(Data(dataset="custom", directory=None, holdout=0))

    monkeypatch.setattr(images, "load_images", half_made)
    found = images.load_or_fetch_images(Data(dataset="mnist", directory=None, holdout=0))
    assert found.counts == {"train": 30, "t10k": 12}
