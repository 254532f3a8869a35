"""Worker processes: the results of this process, whatever their number, and none of them left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from pipeline.data.dataset import Examples, Split
from pipeline.errors import UserError
from pipeline.network.device import configure_device
from pipeline.params import Params
from pipeline.parts import cut
from pipeline.stages.train import TrainJob
from pipeline.sweeps.outcome import OUTCOME_ARRAYS, Outcome, OutcomeJob
from pipeline.training.job import Job, ThisProcess
from pipeline.training.loop import Epoch, OnEpoch
from pipeline.workers import WORTH_A_WORKER, Pool, count_workers, open_workers
from tests.samples import population, probe_of
from tools.sandbox import ROOT

SETTINGS = {"hidden": "6,5", "seeds": "3,1,8,5,0", "epochs": "2", "batch_size": "16", "validation_batch_size": "9"}

Make = Callable[..., Params]


@pytest.fixture
def split(examples: Callable[..., Examples]) -> Split:
    test = examples(30, seed=2)
    return Split(examples(50), test, test)


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def silent(number: int, epoch: Epoch) -> None:
    pass


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_results_are_the_same_bytes_with_any_number_of_workers(
    params: Make, split: Split, threads: str, precision: str
) -> None:
    large = {"hidden": "128,64", "batch_size": "40"}  # enough for two threads to share
    settings = SETTINGS | large | {"threads": threads, "matmul_precision": precision, "device": "cpu"}
    whole = population(params(**settings), "batchnorm")
    configure_device(whole.train)
    probe = probe_of("loss_landscape", 2)

    def outcome(workers: int) -> Outcome:
        jobs = [OutcomeJob(part, None, probe) for part in cut(whole, workers, None, None)]
        told: list[tuple[int, int]] = []

        def tell(number: int, epoch: Epoch) -> None:
            assert epoch.seeds == jobs[number].part.seeds
            told.append((number, epoch.number))

        if workers == 1:
            results = dict(ThisProcess(split, None).run(jobs, tell))
        else:
            with Pool(workers, whole.train, split) as pool:
                results = dict(pool.run(jobs, tell))
        assert set(told) <= {(number, epoch) for number in range(len(jobs)) for epoch in (1, 2)}
        return Outcome.join([results[number] for number in range(len(jobs))])

    one, *more = (outcome(workers) for workers in (1, 2, 3))
    for other in more:
        for name in OUTCOME_ARRAYS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert one.probed.keys() == other.probed.keys()
        for name, values in one.probed.items():
            np.testing.assert_array_equal(values, other.probed[name], err_msg=name)


def test_weights_and_histories_are_too(params: Make, split: Split) -> None:
    whole = population(params(**SETTINGS, activation="tanh"), "plain")
    jobs = [TrainJob(part, None) for part in whole.parts(3)]
    here = dict(ThisProcess(split, None).run(jobs, silent))
    with Pool(2, whole.train, split) as pool:
        there = dict(pool.run(jobs, silent))
    assert here.keys() == there.keys() == {0, 1, 2}
    for number, trained in here.items():
        for one, other in ((trained.weights, there[number].weights), (trained.measured, there[number].measured)):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)
        assert torch.equal(trained.loss, there[number].loss)


@dataclass(frozen=True)
class Killed(Job[int]):
    """Kills its own process the first times that it runs, as the system does that has no memory left."""

    times: int
    folder: Path

    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> int:  # noqa: ARG002
        ran = len(list(self.folder.iterdir()))
        (self.folder / f"{self.part.seeds[0]}-{ran}").touch()
        time.sleep(0.3)
        if ran < self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.part.seeds[0]


@dataclass(frozen=True)
class Quick(Job[int]):
    """Gives its seed."""

    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> int:  # noqa: ARG002
        return self.part.seeds[0]


def test_a_job_whose_worker_is_killed_runs_again(params: Make, split: Split, tmp_path: Path) -> None:
    whole = population(params(**SETTINGS), "plain")
    first, *others = whole.parts(5)
    with Pool(2, whole.train, split) as pool:
        results = dict(pool.run([Killed(first, None, 1, tmp_path), *(Quick(part, None) for part in others)], silent))
    assert results == dict(enumerate(whole.seeds))
    assert len(list(tmp_path.iterdir())) == 2


@dataclass(frozen=True)
class Slow(Job[int]):
    """Takes longer than the others."""

    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> int:  # noqa: ARG002
        time.sleep(2)
        return self.part.seeds[0]


def test_a_job_beside_those_whose_workers_are_killed_is_not_blamed(params: Make, split: Split, tmp_path: Path) -> None:
    whole = population(params(**SETTINGS), "plain")
    slow, *others = whole.parts(5)
    folders = [tmp_path / str(part.seeds[0]) for part in others]
    for folder in folders:
        folder.mkdir()
    killed = [Killed(part, None, 1, folder) for part, folder in zip(others, folders, strict=True)]
    with Pool(2, whole.train, split) as pool:
        assert dict(pool.run([Slow(slow, None), *killed], silent)) == dict(enumerate(whole.seeds))
    assert [len(list(folder.iterdir())) for folder in folders] == [2, 2, 2, 2]


@dataclass(frozen=True)
class Noted(Job[float]):
    """Gives the time at which it begins."""

    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> float:  # noqa: ARG002
        return time.monotonic()


def test_the_longest_jobs_come_first(params: Make, split: Split) -> None:
    changes = ({"hidden": "5"}, {"hidden": "50"}, {"hidden": "5", "epochs": "9"}, {"hidden": "50", "batch_size": "4"})
    parts = [population(params(**(SETTINGS | change)), "plain") for change in changes]
    with Pool(1, parts[0].train, split) as pool:
        begun = dict(pool.run([Noted(part, None) for part in parts], silent))
    assert sorted(begun, key=lambda number: begun[number]) == [3, 1, 2, 0]


def test_one_that_is_killed_again_is_one_line_and_what_came_is_kept(params: Make, split: Split, tmp_path: Path) -> None:
    whole = population(params(**SETTINGS), "plain")
    first, *others = whole.parts(5)
    came: list[int] = []
    with Pool(2, whole.train, split) as pool, pytest.raises(UserError) as caught:
        came.extend(
            number
            for number, _ in pool.run([Killed(first, None, 9, tmp_path), *(Quick(p, None) for p in others)], silent)
        )
    assert sorted(came) == [1, 2, 3, 4]
    assert str(caught.value) == (
        "a worker process was killed 2 times while it trained seed 3, perhaps for want of memory; "
        "what was completed is kept, and train.workers = 1 takes the least memory"
    )


@dataclass(frozen=True)
class Failing(Job[int]):
    """Fails for a reason that the user can mend."""

    def run(self, split: Split, on_epoch: OnEpoch | None = None) -> int:  # noqa: ARG002
        raise UserError("probe.py: no such thing")


def test_an_error_in_a_worker_is_the_one_that_it_would_be_here(params: Make, split: Split) -> None:
    whole = population(params(**SETTINGS), "plain")
    with Pool(2, whole.train, split) as pool, pytest.raises(UserError, match=r"^probe\.py: no such thing$"):
        list(pool.run([Failing(part, None) for part in whole.parts(5)], silent))


ENDLESS = """
import sys, time
from dataclasses import dataclass
import torch
from pipeline.data.dataset import Examples, Split
from pipeline.params import load
from pipeline.training.population import Population
from pipeline.workers import Pool
from pipeline.sweeps.outcome import OutcomeJob
if __name__ == "__main__":
    params = load("params.yaml", {"epochs": "1000000", "seeds": "0,1", "hidden": "5"})
    images = Examples(torch.rand(50, 784), torch.zeros(50, dtype=torch.int64))
    population = Population("plain", params.model, params.train, (0, 1))
    with Pool(2, params.train, Split(images, images, images)) as pool:
        told = set()
        def tell(number, epoch):
            if number not in told:
                print("trains", flush=True)
            told.add(number)
        list(pool.run([OutcomeJob(part, None) for part in population.parts(2)], tell))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS.replace('"params.yaml"', f"__import__('pathlib').Path({str(ROOT / 'params.yaml')!r})"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as parent:
        assert parent.stdout
        assert [parent.stdout.readline() for _ in range(2)] == ["trains\n", "trains\n"]
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 3  # the server and two workers
        parent.send_signal(number)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert alive == []


@pytest.mark.parametrize(
    ("cores", "settings", "images", "count"),
    [
        (8, {"workers": "3"}, 0, 3),
        (8, {}, 100 * WORTH_A_WORKER, 8),
        (8, {"threads": "3"}, 100 * WORTH_A_WORKER, 2),
        (8, {"threads": "16"}, 100 * WORTH_A_WORKER, 1),
        (8, {}, 5 * WORTH_A_WORKER, 5),
        (8, {}, WORTH_A_WORKER - 1, 1),
    ],
)
def test_auto_is_as_many_workers_as_there_are_cores_and_work_for(
    params: Make, monkeypatch: pytest.MonkeyPatch, cores: int, settings: dict[str, str], images: int, count: int
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    assert count_workers(params(**settings).train, images) == count


def test_one_worker_is_this_process(params: Make, split: Split) -> None:
    with open_workers(params(workers="1").train, split, 10**9) as workers:
        assert isinstance(workers, ThisProcess)
    with open_workers(params(workers="2").train, split, 1) as workers:
        assert isinstance(workers, Pool)
