"""One variant trained for MLflow alone: what its run holds, whatever its normalisation."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.analysis.figures import COLOURS
from pipeline.cli import main
from pipeline.data import idx
from pipeline.data.images import read
from pipeline.params import ALL_VARIANTS, Variant
from pipeline.records import saved_view
from tests.samples import enter
from tests.sweeping import make

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project, entered: its store is made once."""
    folder = tmp_path_factory.mktemp("project")
    make(folder)
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        yield folder
        mlflow.set_tracking_uri("")


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_a_run_holds_everything_whatever_the_normalisation(project: Path, variant: Variant) -> None:
    result = CliRunner().invoke(main, ["run", "--variant", variant, "--groups", "5", "--seeds", "2"])
    assert result.exit_code == 0, result.output
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    (run,) = client.search_runs(["0"], f"tags.stage = 'train@{variant}'")
    assert (run.info.status, run.data.params["variant"]) == ("FINISHED", variant)
    pictures = client.list_artifacts(run.info.run_id, "images")
    kinds = {"pre_activation", "activation"} | ({"normalised"} if variant not in ("plain", "weightnorm") else set())
    drawn = {Path(picture.path).name.split("+")[0] for picture in pictures if picture.path.endswith(".png")}
    assert drawn == {f"layer1_{kind}" for kind in kinds}
    view = json.loads(client.get_experiment("0").tags[saved_view.tag(saved_view.KEY)])
    *_, images = json.loads(view["state"])["compareRunCharts"]
    assert images["imageKeys"] == ["layer1_pre_activation", "layer1_activation", "layer1_normalised"]
    held = read("custom", project / "data" / "custom")
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{variant}")
    assert client.get_model_version_by_alias(f"custom-{variant}", "current").run_id == run.info.run_id
    assert run.data.tags["mlflow.runColor"] == COLOURS[variant].lower()
    assert run.inputs
    assert mlflow.data.get_source(run.inputs.dataset_inputs[0]).to_dict() == {"uri": "data/custom"}
    validation = held.arrays[idx.TRAIN_IMAGES][-6:]
    accuracy = np.mean(model.predict(validation) == held.arrays[idx.TRAIN_LABELS][-6:])
    assert run.data.metrics["validation/accuracy_of_model"] == pytest.approx(accuracy)  # of nine digits
    assert not (project / "runs" / variant).exists()


@pytest.mark.parametrize(
    ("arguments", "variant"),
    [
        ([], "batchnorm"),
        (["--batchnorm", "True"], "batchnorm"),
        (["--batchnorm", "false"], "plain"),
        (["--batchnorm", "false", "--variant", "plain"], "plain"),
        (["--batchnorm", "true", "--variant", "rmsnorm"], "rmsnorm"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_variant_goes_before_the_default_of_batchnorm(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], variant: str
) -> None:
    trained: list[object] = []
    monkeypatch.setattr("pipeline.commands.run.train_in_run", lambda _, chosen, *__: trained.append(chosen))
    assert CliRunner().invoke(main, ["run", *arguments]).exit_code == 0
    assert trained == [variant]
