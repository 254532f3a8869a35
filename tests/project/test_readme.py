"""The commands that README shows, run as they stand: in a copy of the project, on tiny data."""

import re
from pathlib import Path

import mlflow
import pytest

from tools.sandbox import ROOT, make, output

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

SECTION = "## Change a parameter, train one variant, run a grid"
ELSEWHERE = ("make ", "source ")  # the Makefile's targets have tests of their own; tests have an environment


def commands(text: str) -> list[str]:
    """The lines of all shell blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = commands(README.partition(SECTION)[2])


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project."""
    return make(tmp_path_factory.mktemp("reader") / "clone")


def test_all_commands_are_run_here_or_are_make_targets() -> None:
    assert [line for line in commands(README) if not line.startswith(ELSEWHERE) and line not in SHOWN] == []
    assert len([line for line in SHOWN if not line.startswith(ELSEWHERE)]) >= 6


def test_the_commands_work_in_the_order_in_which_they_stand(clone: Path) -> None:
    for line in SHOWN:
        if line.startswith(ELSEWHERE):
            continue
        here = line.replace("mlflow run .", "mlflow run . --env-manager local")  # not a new environment of 6 GB
        small = here.replace("batch_size=60,2000", "batch_size=60,64").replace("holdout 10000", "holdout 60")
        output(clone, "bash", "-ec", small)
    found = mlflow.MlflowClient(f"sqlite:///{clone}/mlflow.db").search_runs(["0", "1"], max_results=1000)
    stages = {run.data.tags.get("stage") for run in found}
    assert {"train@plain", "train@batchnorm", "train@layernorm", "evaluate", "sweep"} <= stages
    assert {run.info.status for run in found} == {"FINISHED"}
