"""The project as its users run it: `dvc repro`, `dvc exp`, `mlflow run` and the served model, in a copy, on tiny data.

All tests share one copy in which `dvc repro` has run, and leave its outputs as they were; each can be run alone.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import safetensors.numpy
from mlflow.entities import Run

from pipeline.data import idx
from pipeline.data.images import read
from tools.sandbox import SEEDS, call, commit, make, output, write_images

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the project in which `dvc repro` has run, and what it printed."""
    folder = make(tmp_path_factory.mktemp("user") / "clone")
    return folder, repro(folder)


@pytest.fixture
def clone(reproduced: tuple[Path, str]) -> Path:
    return reproduced[0]


def repro(folder: Path, *arguments: str) -> str:
    return output(folder, "dvc", "repro", *arguments)


def runs(folder: Path, query: str = "") -> list[Run]:
    """Finished or unfinished runs of the clone's store, newest first."""
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return list(client.search_runs(["0"], query, max_results=1000))


def top_level(folder: Path) -> list[str]:
    return sorted(run.info.run_name for run in runs(folder) if "mlflow.parentRunId" not in run.data.tags)


ALL = ["download", "evaluate", "train@batchnorm", "train@plain"]


def test_repro_runs_every_stage_and_leaves_every_output(reproduced: tuple[Path, str]) -> None:
    clone, printed = reproduced
    for stage in ("download", "train@plain", "train@batchnorm", "evaluate", "track"):
        assert f"Running stage '{stage}'" in printed
    metrics = json.loads((clone / "results" / "lab" / "comparisons.json").read_text(encoding="utf-8"))
    assert metrics["test"]["accuracy"]["pairs"] == len(SEEDS)
    assert len(list((clone / "results" / "lab" / "figures").glob("*.png"))) == 7
    assert (clone / "results" / "lab" / "figures" / "epochs.gif").read_bytes().startswith(b"GIF89a")
    weights = safetensors.numpy.load_file(clone / "runs" / "batchnorm" / "weights.safetensors")
    assert weights["linears.1.weight"].shape == (2, 6, 8)


def test_a_second_repro_does_nothing(clone: Path) -> None:
    assert "Running stage" not in repro(clone)
    assert top_level(clone) == ALL


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (["track"], {"matplotlib", "mlflow", "scipy", "torch"}),
        (["download"], {"matplotlib", "mlflow", "scipy", "torch", "torchvision"}),
        (["sweep", "--grid", "lr=1", "--dry-run"], {"mlflow", "scipy"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_has_nothing_to_record_does_not_import_mlflow(clone: Path, arguments: list[str], unused: set[str]) -> None:
    done = call(clone, sys.executable, "-X", "importtime", "-m", "pipeline", *arguments)
    assert done.returncode == 0
    imported = set(re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.M))
    assert {"pipeline.cli", "numpy"} <= imported
    assert unused & imported == set()
    assert top_level(clone) == ALL
    assert "mlruns/tracked.json" not in call(clone, "dvc", "status").stdout


def test_what_mlflow_holds(clone: Path) -> None:
    assert {run.info.status for run in runs(clone)} == {"FINISHED"}
    (train,) = runs(clone, "tags.stage = 'train@batchnorm'")
    assert train.data.params["train.lr"] == "0.1"
    assert train.data.params["variant"] == "batchnorm"
    assert "evaluate.margin" not in train.data.params
    assert {"dvc.stage", "digest.data", "digest.params", "digest.outputs", "git.dirty"} <= set(train.data.tags)
    assert {"values/layer2/pre_activation_std", "seconds"} <= set(train.data.metrics)
    client = mlflow.MlflowClient(f"sqlite:///{clone}/mlflow.db")
    children = runs(clone, f"tags.`mlflow.parentRunId` = '{train.info.run_id}'")
    assert sorted(run.data.params["seed"] for run in children) == [str(seed) for seed in SEEDS]
    curves = {
        run.info.run_id: [
            (point.step, point.value) for point in client.get_metric_history(run.info.run_id, "train/loss")
        ]
        for run in (train, *children)
    }
    assert [step for step, _ in curves[train.info.run_id]] == list(
        range(1, 11)
    )  # 2 epochs of 4 batches of 64 and one of 44
    seeds = np.array([[value for _, value in curves[run.info.run_id]] for run in children])
    np.testing.assert_allclose([value for _, value in curves[train.info.run_id]], seeds.mean(axis=0), rtol=1e-7)
    images = [file.path for file in client.list_artifacts(train.info.run_id, "images") if file.path.endswith(".png")]
    steps = {(Path(path).name.split("+")[0], path.split("+")[2]) for path in images}
    kinds = ("pre_activation", "activation", "normalised")
    assert steps == {(f"layer{layer}_{kind}", step) for layer in (1, 2) for kind in kinds for step in "012"}
    (evaluate,) = runs(clone, "tags.stage = 'evaluate'")
    metrics = json.loads((clone / "results" / "lab" / "comparisons.json").read_text(encoding="utf-8"))
    pictures = [file.path for file in client.list_artifacts(evaluate.info.run_id, "images")]
    assert {Path(path).name.split("+")[2] for path in pictures if path.endswith(".png")} == set("012")
    folders = ("results", "figures")
    logged = {file.path for folder in folders for file in client.list_artifacts(evaluate.info.run_id, folder)}
    assert {"results/report.html", "figures/epochs.gif"} <= logged
    assert evaluate.data.metrics["test/accuracy/batchnorm"] == metrics["test"]["accuracy"]["batchnorm"]


def test_the_logged_model_gives_the_reported_accuracy(clone: Path) -> None:
    images = read("custom", clone / "data" / "custom").arrays[idx.TEST_IMAGES]
    labels = read("custom", clone / "data" / "custom").arrays[idx.TEST_LABELS]
    rows = (images.reshape(-1, 784) / 255).astype(np.float32)
    mlflow.set_tracking_uri(f"sqlite:///{clone}/mlflow.db")
    for variant in ("plain", "batchnorm"):
        (train,) = runs(clone, f"tags.stage = 'train@{variant}'")
        seed = train.data.tags["model.seed"]
        model = mlflow.pyfunc.load_model(f"models:/custom-{variant}@current")
        assert model.metadata.run_id == train.info.run_id
        (child,) = runs(clone, f"tags.`mlflow.parentRunId` = '{train.info.run_id}' and params.seed = '{seed}'")
        accuracy = np.mean(model.predict(rows) == labels)
        assert (
            accuracy == child.data.metrics["validation/accuracy"] == train.data.metrics["validation/accuracy_of_model"]
        )
        logged = mlflow.get_logged_model(model.metadata.model_id)
        assert {metric.key: metric.value for metric in logged.metrics or []} == {
            "validation/accuracy_of_model": accuracy,
            "validation/loss_of_model": child.data.metrics["validation/loss"],
        }
        assert model.input_example.shape == (2, 784)
        with pytest.raises(mlflow.exceptions.MlflowException, match="shape"):
            model.predict(rows[:, :100])


def test_forced_again_the_outputs_are_the_same_bytes(clone: Path) -> None:
    names = [name for name in sorted(clone.glob("runs/*/*")) if name.name not in (".gitignore",)]
    before = {path: path.read_bytes() for path in names}
    repro(clone, "--force", "--single-item", "train@batchnorm")
    assert len(before) == 16
    assert {path: path.read_bytes() for path in names} == before


def test_an_evaluation_parameter_does_not_retrain(clone: Path) -> None:
    original = (clone / "params.yaml").read_text(encoding="utf-8")
    (clone / "params.yaml").write_text(original.replace("confidence: 0.95", "confidence: 0.9"), encoding="utf-8")
    changed = json.loads(call(clone, "dvc", "status", "--json").stdout)
    (clone / "params.yaml").write_text(original, encoding="utf-8")
    assert [stage for stage in changed if not stage.startswith("studies/")] == ["evaluate"]


def test_another_machine_restores_what_a_remote_has_and_records_it_once(clone: Path) -> None:
    output(clone, "dvc", "remote", "add", "-q", "-d", "team", "../remote")
    output(clone, "dvc", "push", "-q")
    commit(clone)
    other = clone.with_name("other")
    output(clone, "git", "clone", "-q", str(clone), str(other))
    output(other, "dvc", "pull", "-q")
    assert re.findall(r"Running stage '(.*?)'", repro(other)) == ["track"]
    assert top_level(other) == ALL
    assert {run.data.tags["restored"] for run in runs(other) if run.info.run_name in ALL} == {"true"}
    assert call(other, "git", "status", "--porcelain").stdout == ""
    # From its own cache, and without the note of what is recorded.
    shutil.rmtree(other / "runs")
    (other / "mlruns" / "tracked.json").unlink()
    assert re.findall(r"Running stage '(.*?)'", repro(other)) == ["track"]
    assert top_level(other) == ALL


def test_a_queued_experiment_logs_into_the_same_store(clone: Path) -> None:
    output(clone, "dvc", "exp", "run", "--temp", "--name", "slow", "-S", "train.lr=1e-05", "train@plain")
    (run,) = runs(clone, "tags.`dvc.exp_name` = 'slow' and tags.stage = 'train@plain'")
    assert run.info.run_name == "train@plain [slow]"
    assert run.data.params["train.lr"] == "1e-05"
    assert Path(run.info.artifact_uri).is_relative_to(clone / "mlruns")
    assert (Path(run.info.artifact_uri) / "training" / "train_loss.csv").is_file()


def test_a_study_is_added_with_its_folder_alone(clone: Path) -> None:
    code = {path: path.read_bytes() for path in (clone / "pipeline").rglob("*.py")}
    folder = clone / "studies" / "widths"
    shutil.copytree(clone / "studies" / "learning_rate", folder, ignore=shutil.ignore_patterns("results", "dvc.lock"))
    pipeline = (folder / "dvc.yaml").read_text(encoding="utf-8")
    (folder / "dvc.yaml").write_text(pipeline.replace("learning_rate", "widths"), encoding="utf-8")
    settings = "set: {data.holdout: 50}\ngrid: {model.hidden: [[8], [8, 6]]}\n"
    (folder / "params.yaml").write_text(settings, encoding="utf-8")
    assert "Running stage 'studies/widths/dvc.yaml:widths'" in repro(clone, "studies/widths/dvc.yaml")
    left = {"answer.md", "table.csv", "table.tex", "pairs.csv", "per_seed.csv", "accuracy.png", "accuracy.svg"}
    assert {path.name for path in (folder / "results").iterdir()} == left
    assert "| [8, 6] | " in (folder / "results" / "answer.md").read_text(encoding="utf-8")
    assert "Running stage" not in repro(clone, "studies/widths/dvc.yaml")
    client = mlflow.MlflowClient(f"sqlite:///{clone}/mlflow.db")
    experiment = client.get_experiment_by_name("sweeps")
    assert experiment
    found = client.search_runs([experiment.experiment_id], "tags.sweep = 'widths'", max_results=100)
    assert len([run for run in found if "mlflow.parentRunId" not in run.data.tags]) == 2 * 2 + 1
    assert {path: path.read_bytes() for path in code} == code


def test_mlflow_run_trains_one_variant(clone: Path) -> None:
    folders = ("runs", "results", "data")
    before = {path: path.read_bytes() for name in folders for path in (clone / name).rglob("*") if path.is_file()}
    other = write_images(clone.parent / "others", seed=1)
    options = ("batchnorm=false", "lr=0.01", "train.epochs=1", "seeds=7", f"directory={other}")
    given = [part for option in options for part in ("-P", option)]
    output(clone, "mlflow", "run", ".", "--env-manager", "local", *given)
    (run,) = runs(clone, "params.lr = '0.01'")
    assert run.info.status == "FINISHED"
    wanted = {"batchnorm": "false", "variant": "plain", "train.lr": "0.01", "train.epochs": "1", "train.seeds": "7"}
    assert wanted.items() <= run.data.params.items()
    assert "validation/accuracy" in run.data.metrics
    assert {path: path.read_bytes() for path in before} == before


def test_mlflow_run_trains_any_normalisation(clone: Path) -> None:
    given = [part for option in ("variant=layernorm", "epochs=1", "seeds=7") for part in ("-P", option)]
    output(clone, "mlflow", "run", ".", "--env-manager", "local", *given)
    (run,) = runs(clone, "tags.stage = 'train@layernorm'")
    assert (run.info.status, run.data.params["variant"]) == ("FINISHED", "layernorm")


def test_evaluating_with_other_settings_than_trained_is_refused(clone: Path) -> None:
    done = call(clone, "python", "-m", "pipeline", "evaluate", "--scratch", "--lr", "0.5")
    assert done.returncode == 2
    assert "trained with different values of train.lr; run `dvc repro`" in done.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ["mlflow", "run", ".", "-P", "batchnorm=$(touch touched)", "-P", "lr=1; touch touched"],
            "batchnorm = $(touch touched): should be true or false",
        ),
        (
            ["mlflow", "run", ".", "-e", "sweep", "-P", "grid=lr=1;touch${IFS}touched", "-P", "name=$(touch touched)"],
            "name = $(touch touched): should be at most 100 letters, digits, '-' and '_'",
        ),
        (
            ["dvc", "exp", "run", "--temp", "-S", "data.dataset='$(touch touched)'", "download"],
            "params.yaml: data.dataset = '$(touch touched)': should be 'mnist', 'fashion_mnist', 'kmnist' or 'custom'",
        ),
    ],
    ids=["main", "sweep", "dvc"],
)
def test_a_parameter_is_never_run_by_a_shell(clone: Path, command: list[str], told: str) -> None:
    by_mlflow = command[0] == "mlflow"
    done = call(clone, *command, *(["--env-manager", "local"] if by_mlflow else []))
    assert done.returncode != 0
    assert f"Error: {told}\n" in done.stdout + done.stderr
    assert not by_mlflow or runs(clone)[0].info.status == "FAILED"
    assert list(clone.parent.rglob("touched*")) == []


def test_the_params_file_is_never_run_by_a_shell(clone: Path) -> None:
    path = clone / "params.yaml"
    original = path.read_text(encoding="utf-8")
    path.write_text(original.replace("dataset: custom", 'dataset: "; touch touched; $(touch touched)"'), "utf-8")
    done = call(clone, "dvc", "repro")
    path.write_text(original, encoding="utf-8")
    assert done.returncode != 0
    assert "Error: params.yaml: data.dataset = '; touch touched; $(touch touched)': should be 'mnist', " in done.stderr
    assert list(clone.parent.rglob("touched*")) == []
