"""What each command does: a stage's work inside its run of MLflow.

Stages and trackers are imported by the flow that needs them: PyTorch and MLflow take seconds.
"""

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import paths, processes
from pipeline.data import published
from pipeline.errors import UserError
from pipeline.files import to_json, write_atomic
from pipeline.params import VARIANTS, Params, Train, Variant, load
from pipeline.sweeps import grid
from pipeline.sweeps.grid import Grid
from pipeline.tracking.contact import StoreError

if TYPE_CHECKING:
    from pipeline.records.stages import Record
    from pipeline.sweeps.ray_cluster import Cluster
    from pipeline.sweeps.study import Study
    from pipeline.training.checkpoint import Checkpoint


def download(params: Params) -> None:
    """Fetch and verify the images."""
    images = _images(params)
    print(f"{params.data.dataset}: {_fetch(params, images)}")
    from pipeline.records import stages as records

    _tracked(records.download(params, images), lambda: None)


def train(params: Params, variant: Variant, images: Path | None = None, folder: Path | None = None) -> None:
    """Train every seed of one variant, on the data set's images into `runs/` unless told otherwise."""
    images, folder = images or _verified(params), folder or paths.RUNS / variant
    from pipeline.stages import train as stage

    split = stage.read(params, images)
    from pipeline.records import stages as records

    checkpoint = _checkpoint(params, variant, images)

    def work() -> None:
        with _replaced(folder) as part:
            stage.train(params, variant, split, part, checkpoint)

    _tracked(records.train(params, variant, images, folder), work, then=checkpoint.remove)


def train_alone(params: Params, variant: Variant) -> None:
    """Train one variant for MLflow alone, fetching the images if they are missing."""
    with _scratch() as folder:
        # Images of one's own may be others than those that DVC holds.
        images = folder / "images" if params.data.dataset == "custom" else _images(params)
        _fetch(params, images)
        train(params, variant, images, folder / "training")


def evaluate(params: Params, *, scratch: bool) -> None:
    """Compare the two variants in `runs/`, into `results/lab` or, from scratch, for MLflow alone."""
    images = _verified(params)
    from pipeline.stages.evaluate import stage

    trained = stage.read(params, images, paths.RUNS)
    from pipeline.records import stages as records

    with _scratch() if scratch else contextlib.nullcontext(paths.RESULTS) as folder:

        def work() -> None:
            with _replaced(folder) as part:
                stage.evaluate(params, trained, part)

        _tracked(records.evaluate(params, images, folder), work)


def track(params: Params) -> None:
    """Give the outputs of every stage a run, if they have none."""
    images = _images(params)
    from pipeline.records import outbox
    from pipeline.records import stages as records
    from pipeline.tracking import store

    outbox.send()
    stages = [
        records.download(params, images),
        *(records.train(params, variant, images, paths.RUNS / variant) for variant in VARIANTS),
        records.evaluate(params, images, paths.RESULTS),
    ]
    for record in stages:
        if not record.complete():
            raise UserError(f"{record.stage}: its outputs are missing; run `dvc repro`")
        if not store.recorded(record.digest()):
            print(f"{record.stage}: restored by DVC, recorded in MLflow")
            _tracked(record, lambda: None, restored=True)
    write_atomic(paths.TRACKED, to_json({record.stage: record.digest() for record in stages}))


def sweep(
    grids: Sequence[Grid],
    overrides: Mapping[str, str],
    folder: Path,
    results: Path,
    *,
    study: "Study | None",
    ray: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Train both variants at every point of grids; outcomes are kept in `folder`, what was found in `results`.

    It is done in this process, or on the Ray cluster at the address `ray`. A `study` may measure and say more.

    Raises:
        UserError: a key or value is not allowed, or the grid is large and `yes` was not said.
    """
    if ray is not None and not importlib.util.find_spec("ray"):
        raise UserError("--ray needs Ray: pip install -r requirements-ray.txt")
    params = load(paths.PARAMS, overrides)
    trainings = sum(map(grid.size, grids)) * len(VARIANTS) * len(params.train.seeds)
    if trainings > grid.LARGE and not yes:
        raise UserError(f"the grid has {trainings} trainings, more than {grid.LARGE}; give --yes if it is meant")
    points = grid.points(paths.PARAMS, overrides, *grids)
    probe = study.probe if study else None
    images = _images(params)
    if not images.is_dir():
        _fetch(params, images)
    images = _verified(params)
    from pipeline.sweeps import run as stage

    split = stage.read(params, points, images, device=None if ray is None else "cpu")
    tasks = stage.plan(points, images, folder, probe)
    left = {task.digest: task for task in tasks if task.kept() is None}.values()  # some populations may be equal
    seeds = len(params.train.seeds)
    with contextlib.ExitStack() as stack:
        with _cluster(ray if left else None, params.train) as cluster:
            count = cluster.count if cluster else 1
            print(
                f"{folder.name}: {len(points)} points, {len({task.digest for task in tasks})} populations of {seeds} "
                f"seed{'s' * (seeds > 1)}, {len(left)} still to train"
                + (f", {count} at the same time" if cluster else "")
                + (f", about {stage.estimate([*left], split) / count:.0f} seconds" if dry_run else "")
            )
            if not params.data.holdout:
                print("data.holdout is 0: accuracies are the test images', so no best point is chosen")
            if dry_run:
                return
            from pipeline.records import outbox
            from pipeline.records import sweeps as sweep_records
            from pipeline.tracking import store

            store.connect()
            outbox.send()
            taken = f"{folder.name}: this sweep is under way in another process"
            stack.enter_context(processes.alone(folder, 15, taken))
            recorded = sweep_records.Recorder(folder.name)
            found = stage.run(tasks, split, recorded.log, cluster.train if cluster else stage.here)
        with _replaced(results) as part:
            written = stage.write(found, params, part, study)
        print((results / "answer.md").read_text(encoding="utf-8"))
        recorded.finish(points, [results / path.name for path in written])


def read_study(folder: Path) -> "Study":
    """Read a study's folder."""
    from pipeline.sweeps import study

    return study.read(folder)


@contextlib.contextmanager
def _cluster(address: str | None, settings: Train) -> Iterator["Cluster | None"]:
    """Connect to a Ray cluster, if there is an address."""
    if address is None:
        yield None
        return
    from pipeline.sweeps import ray_cluster

    with ray_cluster.connect(address, settings) as cluster:
        yield cluster


def _checkpoint(params: Params, variant: Variant, images: Path) -> "Checkpoint":
    """Return where a stage's training is kept while it lasts: a place for all that its outputs depend on."""
    from pipeline.training.checkpoint import Checkpoint
    from pipeline.training.population import Population

    population = Population(variant, params.model, params.train, params.train.seeds)
    digest = population.digest(params.data.holdout, published.digest(images))
    return Checkpoint(paths.RUNS / f".{variant}-{digest[:16]}.checkpoint")


def _images(params: Params) -> Path:
    return paths.DATA / params.data.dataset


def _verified(params: Params) -> Path:

    published.verify(params.data.dataset, _images(params))
    return _images(params)


def _fetch(params: Params, images: Path) -> str:
    """Fetch the images into a folder, one process at a time, and return where they came from."""
    from pipeline.stages.download.stage import download as fetch

    with processes.alone(images, 600, f"{images}: another process is still fetching it"):
        return fetch(params.data, images)


@contextlib.contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Give a folder beside this one, whose files replace this one's when all of them are written."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        yield part
        for path in sorted(path for path in part.rglob("*") if path.is_file()):
            target = folder / path.relative_to(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _tracked(
    record: "Record", work: Callable[[], None], *, then: Callable[[], None] = lambda: None, restored: bool = False
) -> None:
    """Do a stage's work inside a run of MLflow, and `then` what needs the record in MLflow or kept."""
    from pipeline.records import outbox
    from pipeline.tracking import runs

    outbox.send()
    tags = {"restored": "true", "dvc.stage": record.stage} if restored else {}
    done = False
    try:
        with runs.start(record.stage, tags) as run:
            record.begin(run)
            start = time.perf_counter()
            work()
            done = True
            seconds = time.perf_counter() - start
            record.finish(run)
            if not restored:
                run.metrics({"seconds": [(0, seconds)]})
        then()
    except StoreError as error:
        if restored or not done:
            raise
        outbox.keep(record, run)
        then()
        line = f"{record.stage}: done, but not recorded: {error}; its record is kept, and the next command sends it"
        if "MLFLOW_RUN_ID" in os.environ:  # an end without error would have `mlflow run` take its half run for whole
            raise UserError(line) from None
        print(line, file=sys.stderr)
