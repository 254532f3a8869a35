"""A stage's run: what the store is sent, what is kept when it fails, and what DVC is told meanwhile."""

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipeline.tracking import ledger, outbox
from pipeline.tracking.contents import DataSet
from pipeline.tracking.embedded import OUTPUTS_TAG
from pipeline.tracking.errors import TrackingError
from pipeline.tracking.runs import Run
from pipeline.tracking.stage import stage_run
from tests.samples import ROOT
from tools import sandbox

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, entered; the store is the tests' own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begin_outage(patch: pytest.MonkeyPatch) -> None:
    """Let the store fail until the end of the patch."""

    def gone(*_: object, **__: object) -> None:
        raise OSError("gone")

    for name in ("log_batch", "log_inputs", "log_artifact", "log_image", "log_text", "create_run", "set_terminated"):
        patch.setattr(mlflow.MlflowClient, name, gone)


def lose_the_store(patch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
    """Lose the store within a stage, which then ends, or fails with an error."""
    with stage_run("prepare") as run:
        begin_outage(patch)
        run.log_text("late", "late.txt")
        if error:
            raise error


def log_everything(run: Run, folder: Path) -> None:
    """Call most methods once, with what JSON has and what it lacks."""
    run.log_params({"lr": 0.1, "hidden": (5, 4), "directory": None, "name": "tanh"})
    run.log_metrics({"loss": [(1, np.float64(0.5)), (2, float("nan"))], "accuracy": [(0, 1)]})
    run.set_tags({"digest.data": "abc"})
    run.log_image("histogram", 3, np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))
    run.log_artifacts([folder / "table.csv"], "results")
    run.log_text("0123", "sums.txt")
    run.log_input(
        DataSet("mnist", "0123456789abcdef" * 4, "data/custom", {"a": ("uint8", (-1, 2))}, {}, "{}"), "training"
    )
    run.log_child("child", {"seed": 3}, {"loss": [(1, 0.25)]})


def content(client: mlflow.MlflowClient, run_id: str) -> dict[str, object]:
    """What a run and its children hold."""
    run = client.get_run(run_id)
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")
    artifacts = Path(str(run.info.artifact_uri))
    paths = [path for path in artifacts.rglob("*") if path.is_file()]
    files = {path.name.split("+")[0] + path.suffix: path.read_bytes() for path in paths}
    return {
        "params": run.data.params,
        "metrics": [
            (name, [(point.step, str(point.value)) for point in client.get_metric_history(run_id, name)])
            for name in sorted(run.data.metrics)
        ],
        "tag": run.data.tags["digest.data"],
        "files": files,
        "inputs": [(one.dataset.digest, one.dataset.schema) for one in run.inputs.dataset_inputs] if run.inputs else [],
        "children": [(child.info.run_name, child.data.params, child.data.metrics) for child in children],
        "status": run.info.status,
    }


def test_a_record_that_is_sent_later_is_the_one_that_would_have_been_sent(
    client: mlflow.MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "table.csv").write_text("a,b\n", encoding="utf-8")
    with stage_run("prepare") as run:
        log_everything(run, project)
    wanted = content(client, run.run_id)
    with monkeypatch.context() as patch, stage_run("prepare") as run:
        run.log_params({"lr": 0.1})
        begin_outage(patch)
        log_everything(run, project)
    assert "gone" in str(run.outage)
    (project / "table.csv").unlink()  # what was kept needs nothing else
    outbox.send()
    (sent,) = client.search_runs(["0"], f"tags.{outbox.RESENT_TAG} = '{run.run_id}'")
    assert content(client, sent.info.run_id) == wanted
    assert sent.info.run_name == "prepare"
    assert list((project / outbox.OUTBOX).iterdir()) == []


@pytest.mark.usefixtures("client")
def test_a_record_that_cannot_be_kept_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "mlruns").write_text("in the way", encoding="utf-8")
    both = r"prepare: done, but not recorded: MLflow at \S+: gone; nor can its record be kept: \S+mlruns/unsent/\S+: "
    with pytest.raises(TrackingError, match=both):
        lose_the_store(monkeypatch)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("client")
def test_work_that_fails_is_not_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="half way"):
        lose_the_store(monkeypatch, ValueError("half way"))
    assert not (project / outbox.OUTBOX).exists()


# The ledger


@pytest.mark.usefixtures("client")
def test_while_a_stage_of_dvc_has_a_run_the_ledger_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.write({"download": "d1"})
    before = ledger.LEDGER.read_bytes()
    monkeypatch.setenv("DVC_STAGE", "train@plain")
    with stage_run("train@plain"):
        assert json.loads(ledger.LEDGER.read_bytes()) == {"download": "d1", "unfinished": ["train@plain"]}
    assert ledger.LEDGER.read_bytes() == before
    with pytest.raises(ValueError, match="half way"), stage_run("train@plain"):
        raise ValueError("half way")
    assert ledger.LEDGER.read_bytes() == before
    ledger.LEDGER.unlink()
    with stage_run("train@plain"):
        assert ledger.LEDGER.exists()
    assert list(project.iterdir()) == []


@pytest.mark.usefixtures("client", "project")
def test_the_mark_stays_until_the_run_has_ended_and_its_record_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "prepare")
    lose_the_store(monkeypatch)
    assert json.loads(ledger.LEDGER.read_bytes()) == {"unfinished": ["prepare"]}


@pytest.mark.usefixtures("client", "project")
def test_a_command_that_is_no_stage_leaves_the_ledger_alone() -> None:
    ledger.write({"download": "d1"})
    before = ledger.LEDGER.stat().st_mtime_ns
    with stage_run("train@plain"):
        pass
    assert ledger.LEDGER.stat().st_mtime_ns == before


@pytest.mark.usefixtures("project")
def test_marks_of_two_stages_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "any")
    ledger.mark("a")
    ledger.mark("b")
    ledger.unmark("a")
    assert json.loads(ledger.LEDGER.read_bytes()) == {"unfinished": ["b"]}
    ledger.LEDGER.write_text("not JSON", encoding="utf-8")
    ledger.unmark("b")
    ledger.mark("b")
    assert json.loads(ledger.LEDGER.read_bytes()) == {"unfinished": ["b"]}


# Another project

STAGE = """
from pathlib import Path
from tracking.stage import stage_run

with stage_run("count") as run:
    words = Path("text.txt").read_text().split()
    run.log_params({"file": "text.txt"})
    Path("count.txt").write_text(str(len(words)))
    run.log_metrics({"words": [(0, len(words))]})
    run.log_artifacts([Path("count.txt")], "outputs")
"""
PIPELINE = """
stages:
  count:
    cmd: python count.py
    deps: [text.txt]
    outs: [count.txt]
"""


def test_the_package_tracks_a_project_of_another_kind(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(ROOT / "pipeline" / "tracking", folder / "tracking", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in (("count.py", STAGE), ("dvc.yaml", PIPELINE), ("text.txt", "one two three")):
        (folder / name).write_text(text, encoding="utf-8")
    sandbox.output(folder, "dvc", "init", "-q", "--no-scm")
    sandbox.output(folder, "dvc", "repro", "-q")
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (run,) = client.search_runs(["0"])
    assert (run.info.run_name, run.info.status) == ("count", "FINISHED")
    assert (run.data.params, run.data.metrics) == ({"file": "text.txt"}, {"words": 3})
    assert run.data.tags["dvc.stage"] == "count"
    assert run.data.tags["mlflow.source.name"] == "count.py"
    assert (Path(str(run.info.artifact_uri)) / "outputs" / "count.txt").read_text() == "3"
    assert OUTPUTS_TAG not in run.data.tags


@pytest.mark.usefixtures("client", "project")
def test_a_switch_that_mlflow_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "yes")
    with pytest.raises(TrackingError, match="MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING value must be one of"):
        with stage_run("prepare"):
            pass
