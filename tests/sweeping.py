"""Sweeps run in this process, in a small project without code, and the runs that they leave in its store."""

from pathlib import Path

import mlflow
from click.testing import CliRunner, Result
from mlflow.entities import Run

from pipeline.cli import main
from tools import sandbox


def make(folder: Path) -> None:
    """Lay out a project: params.yaml with one hidden layer, and 30 training and 12 test images in data/custom."""
    changes = {"data.holdout": 6, "model.hidden": [5], "train.seeds": [0, 1], "train.epochs": 1, "train.batch_size": 8}
    sandbox.write_params(folder, changes)
    sandbox.write_images(folder / "data" / "custom", 30, 12)


def sweep(*arguments: str) -> Result:
    """Run the command `sweep`."""
    return CliRunner().invoke(main, ["sweep", *arguments])


def done(*arguments: str) -> str:
    """Run the command `sweep`, which must succeed, and return what it prints."""
    result = sweep(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def runs(folder: Path, query: str = "") -> list[Run]:
    """Return the runs of experiment `sweeps`."""
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("sweeps")
    assert experiment
    return list(client.search_runs([experiment.experiment_id], query, max_results=1000))


def points(folder: Path, name: str) -> list[Run]:
    """Return the top-level runs of a sweep's points, without its summaries."""
    found = runs(folder, f"tags.sweep = '{name}'")
    return [run for run in found if "mlflow.parentRunId" not in run.data.tags and "variant" in run.data.tags]
