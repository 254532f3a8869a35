"""Images are those that the settings name: another folder is other images, whatever `data/custom` holds."""

from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands.images import load_images
from pipeline.data.images import read
from pipeline.errors import UserError
from pipeline.params import Data
from tests.samples import enter
from tests.sweeping import done, make, runs
from tools import sandbox

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, entered, with images in `data/custom` and others in `a` and `b`."""
    make(tmp_path)
    for name, seed in (("a", 1), ("b", 2)):
        sandbox.write_images(tmp_path / name, 30, 12, seed)
    enter(tmp_path, monkeypatch)
    return tmp_path


def custom(directory: str | None) -> Data:
    return Data(dataset="custom", directory=directory, holdout=0)


def digest(folder: Path) -> str:
    return read("custom", folder).digest


def test_custom_images_are_read_from_the_folder_that_the_settings_name(project: Path) -> None:
    assert load_images(custom(None)).digest == digest(project / "data" / "custom")
    for directory in ("a", str(project / "b")):
        assert load_images(custom(directory)).digest == digest(project / directory)
    with pytest.raises(UserError, match=f"^directory {project}/nowhere: train-images-idx3-ubyte: missing"):
        load_images(custom("nowhere"))


def test_a_stage_of_dvc_reads_what_dvc_tracks_and_notices_that_it_is_of_another_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "train@plain")
    with pytest.raises(UserError, match=r"^data/custom: holds other images than data\.directory = a; DVC does not"):
        load_images(custom("a"))
    sandbox.write_images(project / "data" / "custom", 30, 12, seed=1)
    assert load_images(custom("a")).digest == digest(project / "a")
    assert load_images(custom("elsewhere")).digest == digest(project / "a"), "another machine has no such folder"


def test_a_relative_folder_counts_from_the_project_in_dvcs_temporary_copies(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = project / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.chdir(copy)
    assert load_images(custom("a")).digest == digest(project / "a")


def test_a_sweep_of_other_images_trains_on_them_and_says_so(project: Path) -> None:
    for name in ("a", "b"):
        assert "2 still to train (4 networks)" in done("--grid", "lr=0.1", "--directory", name, "--name", name)
        found = runs(project, f"tags.sweep = '{name}' and tags.variant = 'plain'")
        (run,) = (run for run in found if "mlflow.parentRunId" not in run.data.tags)
        assert run.data.tags["digest.data"] == digest(project / name)
        assert run.inputs
        (entry,) = run.inputs.dataset_inputs
        assert entry.dataset.digest == digest(project / name)[:12]
    tables = [(project / "sweeps" / name / "table.csv").read_bytes() for name in ("a", "b")]
    assert tables[0] != tables[1]
    mlflow.set_tracking_uri("")


def test_a_training_of_other_images_trains_on_them_and_says_so(project: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    for command in (["train", "plain"], ["run", "--batchnorm", "false"]):
        result = CliRunner().invoke(main, [*command, "--directory", "b"])
        assert result.exit_code == 0, result.output
        run = client.search_runs(["0"], "tags.stage = 'train@plain'")[0]
        assert run.data.tags["digest.data"] == digest(project / "b")
    result = CliRunner().invoke(main, ["evaluate", "--directory", "a"])
    assert result.exit_code == 2
    assert result.stderr == "Error: runs/plain: trained with different values of images; run `dvc repro`\n"
    mlflow.set_tracking_uri("")
