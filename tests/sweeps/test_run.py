"""The work of a sweep: its plan, its trainings, which resume where an earlier run stopped, and the estimate."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.dataset import Split
from pipeline.data.images import ImageFiles, read
from pipeline.errors import UserError
from pipeline.params import VARIANTS, Data, Params
from pipeline.sweeps.grid import Point, list_points
from pipeline.sweeps.outcome import OUTCOME_ARRAYS, Outcome, OutcomeJob, outcome_digest
from pipeline.sweeps.plan import Task, estimate, load_splits, plan
from pipeline.sweeps.result import Result
from pipeline.sweeps.run import TimedJob, train_tasks
from pipeline.training.job import ThisProcess, Workers
from pipeline.training.population import Population
from tests.samples import PARAMS, outcome_of

SETTINGS = {"seeds": "0,1", "epochs": "1", "device": "cpu", "threads": "1"}
SPANS = {"train.lr": ["0.01", "0.1"], "model.hidden": ["[4]", "[5, 3]"]}
SMALL = {"hidden": "5", "batch_size": "8"}  # where a grid varies neither

Make = Callable[..., Params]
Images = Mapping[Data, ImageFiles]


@pytest.fixture
def points() -> list[Point]:
    return list_points(PARAMS, SETTINGS | {"batch_size": "8"}, SPANS)


@pytest.fixture
def images(points: list[Point], idx_folder: Callable[..., Path]) -> Images:
    return {points[0].params.data: read("custom", idx_folder())}


@pytest.fixture
def split(params: Make, points: list[Point], images: Images) -> Split:
    return next(iter(load_splits(params(**SETTINGS | SMALL), points, images).values()))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Population]:
    """The populations that are trained from now on."""
    seen: list[Population] = []

    run = OutcomeJob.run

    def counted(self: OutcomeJob, *rest: Any) -> Outcome:
        seen.append(self.part)
        return run(self, *rest)

    monkeypatch.setattr(OutcomeJob, "run", counted)
    return seen


@pytest.fixture
def workers(split: Split) -> Workers:
    return ThisProcess(split, None)


def pair_up(tasks: Sequence[Task], outcomes: Mapping[str, Outcome]) -> list[Result]:
    """The result of each point of a plan, which has its two tasks one after the other."""
    return [
        Result(plain.point, {"plain": outcomes[plain.digest], "batchnorm": outcomes[batchnorm.digest]})
        for plain, batchnorm in zip(tasks[::2], tasks[1::2], strict=True)
    ]


def swept(tasks: Sequence[Task], workers: Workers) -> list[Result]:
    """The results of all points."""
    return pair_up(tasks, {task.digest: outcome for task, outcome, _ in train_tasks(tasks, workers)})


def same(one: Sequence[Result], other: Sequence[Result]) -> None:
    assert [result.point for result in one] == [result.point for result in other]
    for a, b in zip(one, other, strict=True):
        assert a.outcomes.keys() == b.outcomes.keys() == set(VARIANTS)
        for variant in VARIANTS:
            for name in OUTCOME_ARRAYS:
                x, y = (getattr(result.outcomes[variant], name) for result in (a, b))
                np.testing.assert_array_equal(x, y, err_msg=name)


def test_the_plan_is_point_by_point_one_population_of_each_variant(
    points: list[Point], images: Images, tmp_path: Path
) -> None:
    tasks = plan(points, images, tmp_path / "kept")
    assert [(task.point, task.variant) for task in tasks] == [(p, v) for p in points for v in VARIANTS]
    for task in tasks:
        at = task.point.params
        assert task.population == Population(task.variant, at.model, at.train, (0, 1))
        assert task.folder == tmp_path / "kept" / outcome_digest(task.population, 0, images[at.data].digest)
    assert len({task.digest for task in tasks}) == 8
    assert not (tmp_path / "kept").exists()


def test_other_images_are_other_tasks(points: list[Point], idx_folder: Callable[..., Path], tmp_path: Path) -> None:
    data = points[0].params.data
    before = {task.digest for task in plan(points, {data: read("custom", idx_folder())}, tmp_path)}
    assert before.isdisjoint(task.digest for task in plan(points, {data: read("custom", idx_folder(seed=1))}, tmp_path))


def test_a_plain_network_is_trained_once_for_all_settings_of_batch_normalization(
    idx_folder: Callable[..., Path], tmp_path: Path
) -> None:
    files = read("custom", idx_folder())
    settings = [
        {},
        {"norm_position": "before_activation"},
        {"ghost_batch": "8"},
        {"recentre": "false"},
        {"rescale": "false"},
        {"affine": "false"},
        {"weights": "norms"},
    ]
    points = [point for given in settings for point in list_points(PARAMS, given, {"lr": ["0.1"]})]
    tasks = plan(points, {points[0].params.data: files}, tmp_path)
    digests = {variant: {task.digest for task in tasks if task.variant == variant} for variant in VARIANTS}
    assert {variant: len(different) for variant, different in digests.items()} == {"plain": 1, "batchnorm": 7}


def test_a_run_trains_everything_once_and_the_next_one_nothing(
    points: list[Point], images: Images, workers: Workers, tmp_path: Path, trained: list[Population]
) -> None:
    tasks = plan(points, images, tmp_path / "kept")
    kept = list(train_tasks(tasks, workers))
    assert trained == [task.population for task in tasks]
    assert [task for task, *_ in kept] == tasks
    first = pair_up(tasks, {task.digest: outcome for task, outcome, _ in kept})
    assert [outcome for _, outcome, _ in kept] == [result.outcomes[v] for result in first for v in VARIANTS]
    assert [result.point for result in first] == points
    assert {*(tmp_path / "kept").iterdir()} == {task.folder for task in tasks}
    trained.clear()
    again = list(train_tasks(tasks, workers))
    same(pair_up(tasks, {task.digest: outcome for task, outcome, _ in again}), first)
    assert trained == []
    assert [task for task, *_ in again] == tasks


def test_seconds_are_those_of_networks_that_are_trained_now_from_their_beginning(
    images: Images, workers: Workers, tmp_path: Path
) -> None:
    def seconds(seeds: str) -> list[bool]:
        """Whether the seconds of the plain and the other networks are known."""
        spans = {"train.lr": ["0.1"]}
        tasks = plan(list_points(PARAMS, SETTINGS | SMALL | {"seeds": seeds}, spans), images, tmp_path / "kept")
        return [took > 0 for *_, took in train_tasks(tasks, workers)]

    assert seconds("0,1") == [True, True]
    assert seconds("0,1") == [False, False], "stored"
    assert seconds("0,1,2") == [False, False], "some are stored"


def test_a_training_that_goes_on_from_a_checkpoint_has_unknown_seconds(
    points: list[Point], images: Images, split: Split, tmp_path: Path
) -> None:
    part = plan(points, images, tmp_path)[0].population
    job = TimedJob(part, tmp_path / "checkpoint")
    whole, seconds = job.run(split)
    assert seconds > 0
    (tmp_path / "checkpoint").write_bytes(b"damaged")
    again, unknown = job.run(split)
    assert math.isnan(unknown)
    np.testing.assert_array_equal(again.test_loss, whole.test_loss)


def test_a_result_is_what_training_its_population_gives(
    points: list[Point], images: Images, split: Split, workers: Workers, tmp_path: Path
) -> None:
    tasks = plan(points, images, tmp_path / "kept")
    trained = swept(tasks, workers)
    alone = outcome_of(tasks[5].population, split)
    np.testing.assert_array_equal(trained[2].outcomes["batchnorm"].validation_loss, alone.validation_loss)
    assert trained[2].point.values == {"train.lr": "0.1", "model.hidden": "[4]"}


@pytest.mark.parametrize("stopped_after", [1, 4, 7])
def test_an_interrupted_run_is_completed_by_the_next(
    points: list[Point],
    images: Images,
    workers: Workers,
    tmp_path: Path,
    trained: list[Population],
    capsys: pytest.CaptureFixture[str],
    stopped_after: int,
) -> None:
    whole = swept(plan(points, images, tmp_path / "whole"), workers)
    assert "resuming" not in capsys.readouterr().out
    tasks = plan(points, images, tmp_path / "kept")
    trained.clear()
    for _ in itertools.islice(train_tasks(tasks, workers), stopped_after):
        pass
    assert len(list((tmp_path / "kept").iterdir())) == stopped_after
    results = swept(tasks, workers)
    assert trained == [task.population for task in tasks]
    assert capsys.readouterr().out == f"resuming: {2 * stopped_after} of 16 networks were trained before\n"
    same(results, whole)


def test_a_damaged_file_is_trained_again(
    points: list[Point], images: Images, workers: Workers, tmp_path: Path, trained: list[Population]
) -> None:
    tasks = plan(points, images, tmp_path / "kept")
    first = swept(tasks, workers)
    (file,) = tasks[3].folder.iterdir()
    file.write_bytes(b"half")
    trained.clear()
    same(swept(tasks, workers), first)
    assert trained == [tasks[3].population]


def test_a_grid_that_grew_trains_what_is_new(
    points: list[Point], images: Images, workers: Workers, tmp_path: Path, trained: list[Population]
) -> None:
    swept(plan(points[:1], images, tmp_path / "kept"), workers)
    trained.clear()
    results = swept(plan(points, images, tmp_path / "kept"), workers)
    assert len(results) == 4
    assert len(trained) == 6


def test_further_seeds_are_all_that_is_trained(
    images: Images, workers: Workers, tmp_path: Path, trained: list[Population]
) -> None:
    def tasks(seeds: str) -> list[Task]:
        spans = {"train.lr": ["0.01", "0.1"]}
        return plan(list_points(PARAMS, SETTINGS | SMALL | {"seeds": seeds}, spans), images, tmp_path / "kept")

    few, many = tasks("0,1"), tasks("2,0,1,7")
    assert {task.digest for task in few}.isdisjoint(task.digest for task in many)
    swept(few, workers)
    trained.clear()
    grown = swept(many, workers)
    assert [population.seeds for population in trained] == 4 * [(2, 7)]
    again = plan([task.point for task in many[::2]], images, tmp_path / "whole")
    same(grown, swept(again, workers))
    trained.clear()
    swept(few, workers)
    assert trained == []


def test_the_estimate_is_positive_and_of_nothing_nothing(
    points: list[Point], images: Images, split: Split, tmp_path: Path
) -> None:
    tasks = plan(points, images, tmp_path / "kept")
    populations = [task.population for task in tasks]
    assert estimate([], split, 1) == 0
    assert 0 < estimate(populations, split, 1) < 60
    assert not (tmp_path / "kept").exists()


def test_the_estimate_grows_with_what_is_to_be_done(
    images: Images, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("pipeline.sweeps.plan.time.perf_counter", lambda: float(next(ticks)))

    def seconds(spans: dict[str, list[str]], workers: int = 1, **overrides: str) -> float:
        small = {key: text for key, text in SMALL.items() if key not in spans}
        points = list_points(PARAMS, SETTINGS | small | overrides, spans)
        return estimate([task.population for task in plan(points, images, tmp_path)], split, workers)

    one = seconds({"lr": ["0.1"]})
    # Every training of a kind takes a second for its 2 seeds on all 20 images; there is one kind of each variant.
    assert one == pytest.approx(2)
    assert seconds({"lr": ["0.1", "0.2", "0.3"]}) == pytest.approx(3 * one)
    assert seconds({"lr": ["0.1"]}, epochs="5") == pytest.approx(5 * one)
    assert seconds({"batch_size": ["8", "10"]}) == pytest.approx(2 * one)
    assert seconds({"lr": ["0.1"]}, workers=4) == pytest.approx(one / 4)


def test_images_that_leave_a_batch_of_one_are_refused_before_anything_is_written(
    params: Make, images: Images, tmp_path: Path
) -> None:
    points = list_points(PARAMS, SETTINGS | {"hidden": "5"}, {"batch_size": ["8", "19"]})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"^train\.batch_size = 19: leaves a batch of a single image, .*: 18 or 20$"):
        load_splits(params(**SETTINGS | SMALL), points, images)
    points = list_points(PARAMS, SETTINGS | {"hidden": "5", "holdout": "4"}, {"batch_size": ["8"]})
    fewer = {points[0].params.data: next(iter(images.values()))}
    (split,) = load_splits(params(**SETTINGS | SMALL), points, fewer).values()
    assert (len(split.train), len(split.validation), len(split.test)) == (16, 4, 10)
    assert sorted(tmp_path.rglob("*")) == before


def test_batches_of_one_image_are_refused(params: Make, images: Images) -> None:
    with pytest.raises(UserError, match=r"^train\.batch_size = 1: "):
        load_splits(params(**SETTINGS | SMALL), list_points(PARAMS, SETTINGS, {"batch_size": ["1"]}), images)
