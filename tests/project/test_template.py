"""The template is a project of its own: a copy of it and of the tracking package works, by the page's commands."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from tests.samples import ROOT
from tools import sandbox

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

PAGE = (ROOT / "docs" / "template.md").read_text(encoding="utf-8")
TEMPLATE = ROOT / "docs" / "template"
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the page's commands make of a project with a few random images."""
    ours = tmp_path_factory.mktemp("template") / "ours"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("docs/template", "pipeline/tracking"):
        shutil.copytree(ROOT / name, ours / name, ignore=ignore)
    sandbox.write_images(ours / "data" / "mnist")
    sandbox.output(ours, "bash", "-ec", COMMANDS)
    yield ours.parent / "poolings"
    mlflow.set_tracking_uri("")


@pytest.fixture(scope="module")
def runs(project: Path) -> dict[str, Run]:
    found = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db").search_runs(["0"])
    return {str(run.info.run_name): run for run in found}


def test_every_stage_and_training_has_a_run(runs: dict[str, Run]) -> None:
    stages = ["prepare", "train@max", "train@average", "evaluate"]
    children = [f"train@{pooling} seed {seed}" for pooling in ("max", "average") for seed in range(3)]
    assert sorted(runs) == sorted(stages + children)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert [runs[name].data.tags["dvc.stage"] for name in stages] == stages
    assert runs["train@max"].data.params["train.lr"] == "0.01"
    assert runs["train@max seed 1"].data.tags["mlflow.parentRunId"] == runs["train@max"].info.run_id
    weights = Path(str(runs["train@average"].info.artifact_uri)) / "weights"
    assert sorted(path.name for path in weights.iterdir()) == [f"seed{seed}.safetensors" for seed in range(3)]


def test_the_networks_learn_and_the_comparison_is_recorded(project: Path, runs: dict[str, Run]) -> None:
    metrics = json.loads((project / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["accuracy_max"] > 0.2, "the classes of the random images can be told by a bright row"
    assert metrics["difference"] == metrics["accuracy_max"] - metrics["accuracy_average"]
    assert runs["evaluate"].data.metrics == {f"test/{name}": value for name, value in metrics.items()}


def test_a_second_time_nothing_runs(project: Path) -> None:
    assert sandbox.output(project, "dvc", "status") == "Data and pipelines are up to date.\n"


def test_the_template_is_short_and_the_page_names_its_files() -> None:
    files = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in TEMPLATE.iterdir()}
    assert sum(files.values()) <= 150
    assert files.keys() == set(re.findall(r"^\| `([\w.]+)` \|", PAGE, re.M))
