"""Two pipelines, two sweeps and DVC's queue at the same time, on one store that none of them finds made."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools import sandbox
from tools.faults import project

PIPELINE = ("download", "train@plain", "train@batchnorm", "evaluate")
SWEEP = ("python", "-m", "pipeline", "sweep", "--grid", "lr=0.01,0.1", "--name")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the store, after all of them have ended."""
    store = tmp_path_factory.mktemp("store")
    address = f"sqlite:///{store}/mlflow.db"
    first = sandbox.make(tmp_path_factory.mktemp("users") / "first")
    second, third = (first.with_name(name) for name in ("second", "third"))
    for other in (second, third):
        sandbox.output(first, "git", "clone", "-q", str(first), str(other))
    sandbox.output(third, "dvc", "exp", "run", "--queue")
    commands = [
        (first, ("dvc", "repro")),
        (second, ("dvc", "repro")),
        (third, ("dvc", "exp", "run", "--run-all")),
        (first, (*SWEEP, "one")),
        (second, (*SWEEP, "two")),
    ]
    with ThreadPoolExecutor(len(commands)) as pool:
        ends = list(pool.map(lambda given: sandbox.call(given[0], *given[1], MLFLOW_TRACKING_URI=address), commands))
    for (_, command), end in zip(commands, ends, strict=True):
        said = end.stdout + end.stderr
        assert end.returncode == 0, f"{command}: {said}"
        assert "locked" not in said
        assert "not recorded" not in said
        assert "Traceback" not in said
    return store


def test_every_run_is_finished(store: Path) -> None:
    assert set(project.statuses(store)) == {"FINISHED"}


def test_what_is_done_more_than_once_is_recorded_as_often_without_a_value_lost(store: Path) -> None:
    """Of parameters, points of every metric, pictures and files, none may be missing from either of equal runs.

    Images that have their run get no other one, so whoever comes later adds none.
    """
    records = project.records(store)
    times = {text.split()[0]: count for text, count in records.items()}
    assert {name: times.get(name) for name in PIPELINE[1:]} == dict.fromkeys(PIPELINE[1:], 3)
    assert 1 <= times["download"] <= 3
    points = {text: count for text, count in records.items() if text.split()[0] not in PIPELINE}
    assert sorted(text.split(" FINISHED")[0] for text in points) == [
        *(f"{variant} lr={lr}" for variant in ("batchnorm", "plain") for lr in ("0.01", "0.1")),
        "summary",
    ]
    assert set(points.values()) == {2}
