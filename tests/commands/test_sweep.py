"""The command `sweep` as a user types it: what it leaves in the folder and in MLflow, and what it refuses.

The session at the end builds on what its earlier tests left, with one store, because making its tables takes seconds.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from mlflow.entities import Run
from mlflow.protos import databricks_pb2

from pipeline.cli import main
from pipeline.params import VARIANTS
from pipeline.sweeps.grid import list_points, parse_grid, sweep_name
from pipeline.sweeps.outcome import Outcome, OutcomeJob
from pipeline.tracking.process import exclusive
from pipeline.training.part import PartTraining
from tests.samples import enter
from tests.sweeping import done, make, points, runs, sweep
from tools import sandbox

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

GRID = ("--grid", "lr=0.01,0.1", "--grid", "train.batch_size=8,10")
POINTS = 4


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project, without a store."""
    make(tmp_path)
    enter(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The variants of the populations trained during the test."""
    seen: list[str] = []

    run = OutcomeJob.run

    def counted(job: OutcomeJob, *rest: Any) -> Outcome:
        seen.append(job.part.variant)
        return run(job, *rest)

    monkeypatch.setattr(OutcomeJob, "run", counted)
    return seen


def refusal(*arguments: str) -> str:
    """The one line with which the command refuses; nothing may have been written."""
    before = sorted(Path().rglob("*"))
    result = sweep(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert sorted(Path().rglob("*")) == before
    *usage, line = result.stderr.strip().splitlines()
    assert all(text.startswith(("Usage: ", "Try ")) for text in usage if text)
    return line.removeprefix("Error: ")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "grid: no key to vary; give --grid KEY=VALUES, such as --grid train.lr=0.01,0.1"),
        (("--grid", "lr"), "grid 'lr': expected KEY=VALUES, such as train.lr=0.01,0.1"),
        (("--grid", "lr=log(0,1,3)"), "grid lr=log(0,1,3): not a range; "),
        (("--grid", "lr=log(1,2,0)"), "grid lr=log(1,2,0): not a range; "),
        (("--grid", "speed=1"), "grid speed: not a parameter; choose from "),
        (("--grid", "lr=1", "--grid", "lr=2"), "grid lr: given twice"),
        (("--grid", "lr=0.1,1e-1"), "grid lr=0.1,1e-1: a value is given twice"),
        (("--grid", "hidden=[8],8"), "grid: hidden=8 and hidden=[8] are the same point"),
        (("--grid", "lr=0.1", "--train.lr", "0.5"), "grid train.lr: also given as --train.lr 0.5"),
        (("--grid", "batch_size=8", "--batch-size", "9"), "grid train.batch_size: also given as --batch-size 9"),
        (
            ("--grid", "epochs=1", "--lr", "0,1"),
            "train.lr = '0,1': should be a valid number (a decimal point is a dot; ",
        ),
        (("--grid", "epochs=1", "--lr", "log(1,2,3)"), "train.lr = 'log(1,2,3)': should be a valid number (a range "),
        (("--grid", "data.holdout=1,2"), "grid data.holdout: all points share data.holdout, "),
        (("--grid", "seeds=[1]"), "grid train.seeds: all points share data.holdout, "),
        (("--grid", "digit=1"), "grid evaluate.digit: all points share data.holdout, "),
        (("--grid", "lr=0.1,-1"), "train.lr = -1: should be greater than 0"),
        (("--grid", "lr=0.1", "--epochs", "many"), "train.epochs = 'many': should be a valid integer"),
        (("--grid", "lr=0.1", "--speed", "9"), "speed = 9: not a parameter; choose from "),
        (("--grid", "batch_size=8,23"), "train.batch_size = 23: leaves a batch of a single image, "),
        (("--grid", "lr=0.1", "--holdout", "30"), "data.holdout = 30: must be less than the 30 training images"),
        (("--grid",), "Option '--grid' requires an argument."),
        (("--study", "studies/none"), "studies/none/params.yaml: cannot be read: "),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_bad_input_is_one_line(trained: list[str], arguments: tuple[str, ...], words: str) -> None:
    assert refusal(*arguments).startswith(words)
    assert trained == []


def test_more_than_ten_thousand_trainings_are_confirmed(
    fresh: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the images were read or trained on")

    seeds = ",".join(map(str, range(2501)))
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.commands.sweep.load_splits", never)
        line = refusal("--grid", "lr=0.1,0.2", "--seeds", seeds)
    assert line == "the grid has 10004 trainings, more than 10000; give --yes if it is meant"
    monkeypatch.setattr("pipeline.commands.sweep.estimate", lambda *_: 1e6)
    assert "4 still to train (10004 networks)" in done("--grid", "lr=0.1,0.2", "--seeds", seeds, "--yes", "--dry-run")
    exactly = ",".join(map(str, range(2500)))
    assert "4 still to train (10000 networks)" in done("--grid", "lr=0.1,0.2", "--seeds", exactly, "--dry-run")
    assert trained == []
    assert not (fresh / "sweeps").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(fresh: Path, trained: list[str]) -> None:
    before = sorted(fresh.rglob("*"))
    printed = done(*GRID, "--dry-run")
    name = sweep_name(list_points(fresh / "params.yaml", {}, parse_grid(GRID[1::2])))
    assert printed.startswith(f"{name}: 4 points, 16 networks in 8 populations, 8 still to train (16 networks), about ")
    assert re.search(r", about \d+ s\n", printed)
    assert "data.holdout is 0" not in printed
    assert trained == []
    assert sorted(fresh.rglob("*")) == before


@pytest.mark.usefixtures("fresh")
def test_without_held_out_images_the_plan_says_so() -> None:
    printed = done("--grid", "lr=0.1", "--dry-run", "--holdout", "0")
    assert "data.holdout is 0: accuracies are the test images', so no best point is chosen\n" in printed


def test_several_keys_may_stand_in_one_text(fresh: Path) -> None:
    printed = done("--grids", "lr=0.01,0.1 batch_size=8,10", "--dry-run", "--epochs=2")
    assert ": 4 points, 16 networks in 8 populations, 8 still to train (16 networks), " in printed
    assert not (fresh / "sweeps").exists()


def test_a_study_gives_the_grid_what_it_sets_and_its_name(fresh: Path) -> None:
    (fresh / "studies" / "rates").mkdir(parents=True)
    text = "grid: {lr: 'log(0.01,1,3)'}\nset: {seeds: [4, 5, 6], data.holdout: 0}"
    (fresh / "studies" / "rates" / "params.yaml").write_text(text, encoding="utf-8")
    printed = done("--study", "studies/rates", "--dry-run")
    assert printed.startswith("rates: 3 points, 18 networks in 6 populations, 6 still to train (18 networks), ")
    assert "data.holdout is 0" in printed
    more = done("--study", "studies/rates", "--grid", "epochs=1,2", "--name", "more", "--seeds", "7", "--dry-run")
    assert more.startswith("more: 6 points, 12 networks in 12 populations, ")


def test_a_studys_lists_in_a_list(fresh: Path) -> None:
    text = "grid: {model.hidden: [[5, 4], [6]]}"
    (fresh / "params").mkdir()
    (fresh / "params" / "params.yaml").write_text(text, encoding="utf-8")
    assert done("--study", "params", "--dry-run").startswith("params: 2 points, ")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", ["../results", "/tmp", "."])
def test_a_name_stays_below_sweeps(name: str) -> None:
    assert name in refusal("--grid", "lr=0.1", "--name", name, "--dry-run")


# A session


def history(folder: Path, run: Run, metric: str) -> list[tuple[int, float]]:
    found = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in found]


def outcomes(folder: Path) -> set[Path]:
    return set((folder / "sweeps" / ".outcomes").glob("*/*.safetensors"))


def test_a_sweep_leaves_its_table_its_answer_and_its_figure(project: Path, trained: list[str]) -> None:
    printed = done(*GRID, "--name", "small")
    assert printed.startswith("small: 4 points, 16 networks in 8 populations, 8 still to train (16 networks)\n")
    assert "resuming" not in printed
    assert trained == POINTS * list(VARIANTS)
    left = project / "sweeps" / "small"
    assert len(outcomes(project)) == 8
    assert {path.name for path in left.iterdir()} == {
        "sweep.json",
        "table.csv",
        "table.tex",
        "pairs.csv",
        "per_seed.csv",
        "answer.md",
        "accuracy.png",
        "accuracy.svg",
    }
    answer = (left / "answer.md").read_text(encoding="utf-8")
    folder, link = printed.splitlines()[-2:]
    assert folder == "All numbers and figures: sweeps/small"
    assert link.startswith("In MLflow (`mlflow ui`): http://127.0.0.1:5000/#/experiments/")
    assert link.endswith("/runs?viewStateShareKey=sweep-small&compareRunsMode=CHART&workflowType=machine_learning")
    assert max(map(len, printed.splitlines()[:-1])) <= 100
    assert "Accuracy on 6 held-out training images" in answer
    assert "Difference at the two best points, over 2 pairs: " in answer
    with (left / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    at = [(row["train.lr"], row["train.batch_size"]) for row in rows]
    assert at == [("0.01", "8"), ("0.01", "10"), ("0.1", "8"), ("0.1", "10")]
    assert not (project / "results").exists()
    assert not (project / "runs").exists()


def test_every_point_and_variant_is_a_run_with_the_means_of_its_seeds(project: Path) -> None:
    found = points(project, "small")
    assert {run.info.status for run in runs(project)} == {"FINISHED"}
    told = {
        (run.data.params["train.lr"], run.data.params["train.batch_size"], run.data.params["variant"]) for run in found
    }
    assert told == {(lr, size, variant) for lr in ("0.01", "0.1") for size in ("8", "10") for variant in VARIANTS}
    assert len(found) == 2 * POINTS
    for run in found:
        assert run.data.params["train.seeds"] == "0,1"
        assert run.data.params["data.holdout"] == "6"
        assert not any(name.startswith("evaluate.") for name in run.data.params)
        lr, size = run.data.params["train.lr"], run.data.params["train.batch_size"]
        assert run.info.run_name == f"{run.data.params['variant']} lr={lr} batch_size={size} [small]"
        assert (run.data.tags["stage"], run.data.tags["variant"]) == ("sweep", run.data.params["variant"])
        assert run.data.metrics["diverged"] == 0
    run = found[0]
    nested = runs(project, f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert sorted(child.data.params["seed"] for child in nested) == ["0", "1"]
    assert "train/loss" not in run.data.metrics  # whose steps are iterations
    curves = (("train/loss_of_epoch", 1, 1), ("validation/loss", 0, 2), ("validation/accuracy", 0, 2))
    for metric, first, count in curves:
        mean, *seeds = (history(project, one, metric) for one in (run, *nested))
        assert [step for step, _ in mean] == list(range(first, first + count))
        assert all([step for step, _ in seed] == [step for step, _ in mean] for seed in seeds)
        values = np.array([[value for _, value in seed] for seed in seeds])
        np.testing.assert_allclose([value for _, value in mean], values.mean(axis=0), rtol=1e-12)
        assert np.isfinite(values).all()
    for child in nested:
        shared = {name: value for name, value in child.data.params.items() if name != "seed"}
        assert shared == run.data.params


def test_what_a_study_measures_is_a_curve_over_its_steps(project: Path) -> None:
    study = project / "studies" / "bias"
    study.mkdir(parents=True)
    (study / "params.yaml").write_text("grid: {lr: 0.1}\nprobe_every: {2: 1, 9: 3}", encoding="utf-8")
    measured = "{'bias': network.linears[0].bias.clone(), 'first': network.linears[0].bias[:, 0].clone()}"
    (study / "probe.py").write_text(f"probe = lambda *_: lambda network: {measured}", encoding="utf-8")
    done("--study", "studies/bias", "--epochs", "2")  # of 3 iterations
    for run in points(project, "bias"):
        nested = runs(project, f"tags.mlflow.parentRunId = '{run.info.run_id}'")
        mean, *seeds = (history(project, one, "probe/first") for one in (run, *nested))
        assert [[step for step, _ in curve] for curve in (mean, *seeds)] == 3 * [[0, 1, 2, 3, 6]]
        assert len({value for _, value in mean}) == 5
        assert "probe/bias" not in run.data.metrics


def test_the_table_has_what_the_runs_have(project: Path) -> None:
    with (project / "sweeps" / "small" / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = {(row["train.lr"], row["train.batch_size"]): row for row in csv.DictReader(file)}
    for run in points(project, "small"):
        params = run.data.params
        row = rows[params["train.lr"], params["train.batch_size"]]
        final = run.data.metrics["validation/accuracy"]
        assert row[f"{params['variant']}_accuracy"] == f"{final:.4f}"


def test_a_summary_has_the_grid_and_the_files(project: Path) -> None:
    (run,) = (run for run in runs(project, "tags.sweep = 'small'") if run.info.run_name == "summary [small]")
    grid = {name: value for name, value in run.data.params.items() if name.startswith("grid.")}
    assert grid == {"grid.train.lr": "0.01,0.1", "grid.train.batch_size": "8,10"}
    assert "mlflow.parentRunId" not in run.data.tags
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    files = {file.path for file in client.list_artifacts(run.info.run_id, "results")}
    assert files == {
        f"results/{name}"
        for name in ("table.csv", "table.tex", "pairs.csv", "per_seed.csv", "answer.md", "accuracy.png", "accuracy.svg")
    }


def test_a_summary_has_what_was_found(project: Path) -> None:
    (run,) = runs(project, "tags.sweep = 'small' and tags.level = 'summary'")
    left = project / "sweeps" / "small"
    assert run.data.tags["mlflow.runColor"] == "#555555"
    assert run.data.tags["mlflow.note.content"].startswith((left / "answer.md").read_text(encoding="utf-8"))
    with (left / "per_seed.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys, found = ("train.lr", "train.batch_size"), run.data.metrics
    tested = {}
    for variant in VARIANTS:
        best = {key: run.data.params[f"best.{variant}.{key}"] for key in keys}
        seeds = [row for row in rows if row["variant"] == variant and best.items() <= row.items()]
        tested[variant] = np.array([float(row["test_accuracy"]) for row in seeds])
        assert found[f"test_accuracy/{variant}"] == pytest.approx(tested[variant].mean(), abs=1e-8)
        assert found[f"failed/{variant}"] == 2
    difference = (tested["batchnorm"] - tested["plain"]).mean()
    assert found["test_accuracy/difference"] == pytest.approx(difference, abs=1e-8)
    assert found["test_accuracy/low"] <= difference <= found["test_accuracy/high"]


def test_runs_are_told_apart_by_level_and_points_are_whole(project: Path) -> None:
    found = runs(project, "tags.sweep = 'small'")
    assert Counter(run.data.tags["level"] for run in found) == {"point": 2 * POINTS, "seed": 4 * POINTS, "summary": 1}
    for run in points(project, "small"):
        assert run.inputs
        assert [used.dataset.name for used in run.inputs.dataset_inputs] == ["custom"]
        assert run.data.metrics["seconds"] > 0
        assert run.data.metrics["log10 train.lr"] == np.log10(float(run.data.params["train.lr"]))


def test_a_sweep_has_a_view(project: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("sweeps")
    assert experiment
    named = json.loads(experiment.tags["mlflow.sharedViewState.sweep-small"])
    assert named["name"] == "Sweep small"
    shown = runs(project, json.loads(named["state"])["searchFilter"])
    assert {run.info.run_id for run in shown} == {run.info.run_id for run in points(project, "small")}


def test_without_held_out_images_a_summary_has_no_best_point(project: Path) -> None:
    done("--grid", "lr=0.4", "--holdout", "0", "--name", "tested")
    (run,) = runs(project, "tags.sweep = 'tested' and tags.level = 'summary'")
    assert (run.data.params, run.data.metrics) == ({"grid.train.lr": "0.4"}, {})


def test_the_same_command_again_trains_nothing_and_logs_no_point_twice(project: Path, trained: list[str]) -> None:
    left = project / "sweeps" / "small"
    before = {path: path.read_bytes() for path in left.iterdir()}
    logged = {run.info.run_id for run in points(project, "small")}
    printed = done(*GRID, "--name", "small")
    assert "0 still to train\n" in printed
    assert "resuming: 16 of 16 networks were trained before\n" in printed
    assert trained == []
    assert {path: path.read_bytes() for path in left.iterdir()} == before
    assert {run.info.run_id for run in points(project, "small")} == logged
    assert len([run for run in runs(project, "tags.sweep = 'small'") if run.info.run_name == "summary [small]"]) == 1


def test_a_point_whose_run_was_lost_is_logged_again(project: Path, trained: list[str]) -> None:
    lost = points(project, "small")[0]
    mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db").delete_run(lost.info.run_id)
    done(*GRID, "--name", "small")
    assert trained == []
    found = points(project, "small")
    assert len(found) == 2 * POINTS
    (again,) = (run for run in found if run.data.params == lost.data.params)
    assert lost.data.metrics["seconds"] > 0
    trained_before = {name: value for name, value in lost.data.metrics.items() if name != "seconds"}
    assert again.data.metrics == trained_before


def test_inside_mlflow_run_the_summary_is_the_run_that_was_started(
    project: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    started = client.create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", started.info.run_id)
    done(*GRID, "--name", "small")
    run = client.get_run(started.info.run_id)
    assert (run.data.tags["sweep"], run.info.status) == ("small", "FINISHED")
    assert run.data.params["grid.train.lr"] == "0.01,0.1"
    assert trained == []
    assert os.environ["MLFLOW_RUN_ID"] == started.info.run_id
    assert len(points(project, "small")) == 2 * POINTS


def test_an_interrupted_sweep_is_completed(project: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("--grid", "epochs=1,2", "--name", "stopped", "--lr", "0.3")
    before = outcomes(project)

    run = OutcomeJob.run

    def stop(job: OutcomeJob, *rest: Any) -> Outcome:
        if len(trained) == 3:
            raise KeyboardInterrupt
        return run(job, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(OutcomeJob, "run", stop)
        result = sweep(*command)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].startswith("Interrupted. The same command again resumes")
    assert len(outcomes(project) - before) == 3
    printed = done(*command)
    assert "1 still to train (2 networks)" in printed
    assert "resuming: 6 of 8 networks were trained before\n" in printed
    assert trained == 2 * list(VARIANTS)
    assert len(points(project, "stopped")) == 4
    assert (project / "sweeps" / "stopped" / "table.csv").is_file()


def epochs_until(monkeypatch: pytest.MonkeyPatch, stop: int | None) -> list[int]:
    """Count the epochs that are trained from now on, and interrupt before one."""
    seen: list[int] = []
    run_epoch = PartTraining.run_epoch

    def counted(training: PartTraining) -> None:
        if len(seen) == stop:
            raise KeyboardInterrupt
        run_epoch(training)
        seen.append(training.epoch)

    monkeypatch.setattr(PartTraining, "run_epoch", counted)
    monkeypatch.setattr("pipeline.training.checkpoint.SECONDS", 0)
    return seen


def test_a_population_goes_on_from_its_last_epoch(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("--grid", "lr=0.2", "--epochs", "4", "--name", "long")
    with monkeypatch.context() as patch:
        epochs_until(patch, 7)
        assert sweep(*command).exit_code == 130
    left = project / "sweeps" / ".outcomes"
    assert len(list(left.glob("*/*.checkpoint"))) == 1
    with monkeypatch.context() as patch:
        seen = epochs_until(patch, None)
        done(*command)
    assert seen == [4]
    resumed = {str(path): path.read_bytes() for path in left.glob("*/*")}
    assert not any(name.endswith(".checkpoint") for name in resumed)
    shutil.move(left, project / "aside")
    done(*command[:-1], "undisturbed")
    undisturbed = {str(path): path.read_bytes() for path in left.glob("*/*")}
    assert len(undisturbed) == 2
    assert undisturbed.items() <= resumed.items()
    shutil.rmtree(left)
    shutil.move(project / "aside", left)


def test_a_stage_goes_on_from_its_last_epoch(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["train", "batchnorm", "--epochs", "4"]
    with monkeypatch.context() as patch:
        epochs_until(patch, 3)
        assert CliRunner().invoke(main, command).exit_code == 130
    (left,) = (project / "runs").iterdir()
    assert left.name.startswith(".batchnorm-")
    assert len(list(left.iterdir())) == 1
    with monkeypatch.context() as patch:
        seen = epochs_until(patch, None)
        assert CliRunner().invoke(main, command).exit_code == 0
    assert seen == [4]
    gone_on = {path.name: path.read_bytes() for path in (project / "runs" / "batchnorm").iterdir()}
    assert CliRunner().invoke(main, command).exit_code == 0
    again = {path.name: path.read_bytes() for path in (project / "runs" / "batchnorm").iterdir()}
    assert {name for name, content in again.items() if content != gone_on[name]} == set()
    assert [path.name for path in (project / "runs").iterdir()] == ["batchnorm"]
    shutil.rmtree(project / "runs")


def test_a_stage_does_not_go_on_from_the_state_of_other_seeds(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def curves(seeds: str) -> bytes:
        assert CliRunner().invoke(main, ["train", "plain", "--epochs", "4", "--seeds", seeds]).exit_code == 0
        return (project / "runs" / "plain" / "train_loss.csv").read_bytes()

    undisturbed = curves("0,5,9")
    with monkeypatch.context() as patch:
        epochs_until(patch, 3)
        assert CliRunner().invoke(main, ["train", "plain", "--epochs", "4", "--seeds", "0,3,9"]).exit_code == 130
    assert curves("0,5,9") == undisturbed
    shutil.rmtree(project / "runs")


@pytest.mark.usefixtures("project")
def test_what_was_trained_is_found_by_every_sweep_however_it_is_written(trained: list[str]) -> None:
    done("--grid", "lr=0.01,0.1", "--batch_size", "8")  # two points of the first sweep
    assert trained == []
    for more in (["--grid", "train.lr=1e-2,0.1"], ["--grid", "lr=0.01,0.1", "--confidence", "0.9"]):
        assert "8 networks in 4 populations, 0 still to train" in done(*more, "--batch_size", "8", "--dry-run")
    assert "12 networks in 6 populations, 2 still to train (4 networks)" in done(
        "--grid", "lr=0.01,0.1,1", "--batch-size", "8", "--dry-run"
    )


@pytest.mark.usefixtures("project")
def test_a_name_that_other_points_take_over_says_what_it_replaces() -> None:
    assert "replaces" not in done("--grid", "lr=0.01,0.1", "--batch_size", "8", "--name", "taken")
    assert "replaces" not in done("--grid", "lr=0.01,1e-1", "--batch_size", "8", "--name", "taken")
    assert (
        "taken: replaces the results of another sweep of this name, of 2 points from lr=0.01 to lr=0.1; its trainings"
    ) in done("--grid", "lr=0.1", "--batch_size", "8", "--name", "taken")
    assert "replaces" not in done("--grid", "lr=0.1", "--batch_size", "8", "--name", "taken")


def test_a_study_keeps_its_results_in_its_own_folder(project: Path) -> None:
    study = project / "studies" / "rates"
    study.mkdir(parents=True)
    (study / "params.yaml").write_text("grid: {lr: [0.5]}", encoding="utf-8")
    done("--study", "studies/rates")
    assert sorted(path.name for path in (study / "results").iterdir()) == [
        "accuracy.png",
        "accuracy.svg",
        "answer.md",
        "pairs.csv",
        "per_seed.csv",
        "table.csv",
        "table.tex",
    ]
    assert [path.name for path in (project / "sweeps" / "rates").iterdir()] == ["sweep.json"]
    assert len(points(project, "rates")) == 2


def test_a_point_that_two_sweeps_share_is_a_run_of_both(project: Path) -> None:
    done("--grid", "lr=0.01", "--name", "subset")
    assert len(points(project, "subset")) == 2


# Recording that cannot work is refused before anything is trained


def test_a_deleted_experiment_is_told_before_training(project: Path, trained: list[str]) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("sweeps")
    assert experiment
    client.delete_experiment(experiment.experiment_id)
    result = sweep("--grid", "lr=0.7", "--name", "late")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "the experiment 'sweeps' was deleted; restore it: " in line
    assert line.endswith(f"--experiment-id {experiment.experiment_id}; or name another by MLFLOW_EXPERIMENT_NAME")
    assert trained == []
    assert not (project / "sweeps" / "late").exists()
    client.restore_experiment(experiment.experiment_id)
    done("--grid", "lr=0.7", "--name", "late")


def test_an_experiment_that_one_may_only_read_is_told_before_training(
    project: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*_: object) -> None:
        raise mlflow.MlflowException("Permission denied", databricks_pb2.PERMISSION_DENIED)

    monkeypatch.setattr(mlflow.MlflowClient, "set_experiment_tag", forbid)
    result = sweep("--grid", "lr=0.8", "--name", "forbidden")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.endswith("ask for the right to edit this experiment, or name another by MLFLOW_EXPERIMENT_NAME")
    assert trained == []
    assert not (project / "sweeps" / "forbidden").exists()


def test_mlflows_variable_names_the_experiment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "course")
    done("--grid", "lr=0.9", "--name", "elsewhere")
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("course")
    assert experiment
    names = {run.info.run_name for run in client.search_runs([experiment.experiment_id])}
    assert {"plain lr=0.9 [elsewhere]", "batchnorm lr=0.9 [elsewhere]", "summary [elsewhere]"} <= names
    assert points(project, "elsewhere") == []


def test_of_two_sweeps_of_one_name_one_trains(
    project: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    holder = """
import sys
from pathlib import Path
from pipeline.tracking.process import exclusive

with exclusive(Path("sweeps/twice"), 0, ""):
    print(flush=True)
    sys.stdin.read()
"""
    monkeypatch.setattr("pipeline.commands.sweep.WAIT", 0.1)
    environment = sandbox.environment(TMPDIR=str(tmp_path), PYTHONPATH=str(sandbox.ROOT))  # another job's, of Slurm
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout
        process.stdout.readline()
        result = sweep("--grid", "lr=0.6", "--name", "twice")
        process.communicate()
    assert result.exit_code == 2
    assert result.stderr == "Error: twice: this sweep is under way in another process\n"
    assert trained == []
    done("--grid", "lr=0.6", "--name", "twice")
    assert [path.name for path in (project / "sweeps").glob(".*.lock")] == []


def test_of_points_that_two_processes_record_at_once_one_stays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done("--grid", "lr=0.7", "--name", "shared")
    before = {run.info.run_id for run in points(project, "shared")}
    monkeypatch.setattr("pipeline.records.sweeps.store.has_run", lambda *_: False)  # each looks before the other ends
    done("--grid", "lr=0.7", "--name", "shared")
    assert {run.info.run_id for run in points(project, "shared")} == before
    names = [run.info.run_name for run in runs(project, "tags.sweep = 'shared'")]
    assert len(set(names)) == len(names)


def test_of_two_sweeps_of_one_study_each_records_its_own_results(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "studies" / "both").mkdir(parents=True)
    (project / "studies" / "both" / "params.yaml").write_text("grid: {lr: 0.7}", encoding="utf-8")
    monkeypatch.setattr("pipeline.commands.folders.WAIT", 0.1)
    with exclusive(project / "studies" / "both" / "results", 0, "taken"):
        result = sweep("--study", "studies/both", "--name", "second")
    assert result.exit_code == 2
    assert result.stderr == "Error: studies/both/results: another process writes it\n"
    assert not (project / "studies" / "both" / "results").exists()
    assert points(project, "second") != []
