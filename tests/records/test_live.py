"""A long training's curves are there while it runs, and each point once in the end, also after a kill."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from mlflow.entities import Run

from pipeline.cli import main
from pipeline.records import live
from pipeline.tracking.errors import TrackingError
from pipeline.tracking.runs import Run as Running
from tests.samples import ROOT, enter
from tests.sweeping import make
from tools.sandbox import environment

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

TRAINING = ["run", "--batchnorm", "false", "--seeds", "2,3", "--epochs", "4", "--workers", "1"]
CURVES = {"validation/loss": 5, "validation/accuracy": 5, "train/loss_of_epoch": 4}  # and their numbers of points


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    make(tmp_path)
    enter(tmp_path, monkeypatch)
    yield tmp_path
    mlflow.set_tracking_uri("")


def client_of(project: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")


def with_children(client: mlflow.MlflowClient, run: Run) -> list[Run]:
    return [run, *client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")]


def points(client: mlflow.MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))


def train() -> None:
    result = CliRunner().invoke(main, TRAINING)
    assert result.exit_code == 0, result.output


def test_each_point_is_there_once_and_what_it_would_be(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, sent = client_of(project), []
    train()
    monkeypatch.setattr(live, "PAUSE", -1)  # always due
    inner = Running.log_live

    def note(run: Running, values: object) -> None:
        sent.append(values)
        inner(run, values)  # type: ignore[arg-type]

    monkeypatch.setattr(Running, "log_live", note)
    train()
    assert len(sent) == 4 * 3, "the mean and two seeds after each of four epochs"
    later, first = client.search_runs(["0"], "tags.stage = 'train@plain'")
    pairs = list(zip(with_children(client, later), with_children(client, first), strict=True))
    assert len(pairs) == 3
    for name, count in CURVES.items():
        for one, other in pairs:
            assert len(points(client, one, name)) == count
            assert one.info.status == "FINISHED"
            np.testing.assert_allclose(points(client, one, name), points(client, other, name), rtol=1e-5)


def test_each_point_is_there_once_after_a_kill(project: Path) -> None:
    program = """
        import os, signal
        from pipeline import cli
        from pipeline.records import live
        from pipeline.training.checkpoint import Checkpoint
        send = live.LiveCurves._send

        def killed(curves):
            send(curves)
            if len(curves._means()["validation/loss"]) == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        live.PAUSE, live.LiveCurves._send, Checkpoint.is_due = -1, killed, lambda _: True
        cli.main()
    """
    command = [sys.executable, "-c", textwrap.dedent(program), *TRAINING]
    done = subprocess.run(
        command, cwd=project, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    client = client_of(project)
    (run,) = client.search_runs(["0"], "tags.stage = 'train@plain'")
    family = with_children(client, run)
    assert [len(points(client, one, "validation/loss")) for one in family] == [2, 2, 2]
    assert {one.info.status for one in family} == {"RUNNING"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "PAUSE", -1)
        train()
    later, killed = client.search_runs(["0"], "tags.stage = 'train@plain'")
    assert {one.info.status for one in with_children(client, killed)} == {"KILLED"}
    for one in with_children(client, later):
        for name, count in CURVES.items():
            assert [step for step, _ in points(client, one, name)] == list(range(5 - count, 5))


def test_a_store_that_refuses_points_meanwhile_gets_them_at_the_end(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(*_: object) -> None:
        asked.append(1)
        raise TrackingError("no", refused=True)

    monkeypatch.setattr(live, "PAUSE", -1)
    monkeypatch.setattr(Running, "log_live", refuse)
    train()
    assert len(asked) == 1, "it is not asked again"
    client = client_of(project)
    (run,) = client.search_runs(["0"], "tags.stage = 'train@plain'")
    for one in with_children(client, run):
        assert len(points(client, one, "validation/loss")) == CURVES["validation/loss"]
