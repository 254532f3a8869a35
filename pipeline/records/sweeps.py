"""What the runs of a sweep hold in MLflow: one for each point, and a summary; recorded as they come, or later."""

import hashlib
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.analysis.statistics import failures, summarise
from pipeline.data.images import ImageFiles
from pipeline.errors import UserError
from pipeline.params import Data, Params
from pipeline.records import sweep_view
from pipeline.records.trainings import NEUTRAL, colour_tag, curves, log_images, mean_or_member, training_params
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.plan import Task
from pipeline.sweeps.result import Result, choose, compare_best
from pipeline.tracking import duplicates, provenance, store
from pipeline.tracking.embedded import OUTPUTS_TAG
from pipeline.tracking.errors import TrackingError
from pipeline.tracking.runs import Run, start_run
from pipeline.tracking.values import Points

SWEEPS = "sweeps"  # the experiment in which sweeps do not drown the lab
LEVEL_TAG = "level"  # what a run is of: a point, one of its seeds, or the summary, to filter and group by
CHECKED_TAG = "last_sweep"  # on the experiment
PAUSE = 60.0  # seconds before a sweep asks again for a store that was out of reach


def experiment() -> str:
    """Return the name of the experiment of sweeps."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or SWEEPS


def check(name: str) -> None:
    """Make sure that the runs of a sweep can be recorded.

    Raises:
        TrackingError: They cannot.
    """
    store.set_experiment_tag(experiment(), CHECKED_TAG, name)


class Recorder:
    """Records the points of a sweep as they come or, while the store is out of reach, later."""

    def __init__(self, name: str, images: Mapping[Data, ImageFiles]) -> None:
        self._name = name
        self._images = images
        self._waiting: list[tuple[Task, Outcome, float]] = []
        self._pause_until = 0.0

    def log(self, task: Task, outcome: Outcome, seconds: float) -> None:
        """Record a point, and those that wait; a store that fails does not stop the sweep."""
        self._waiting.append((task, outcome, seconds))
        if time.monotonic() < self._pause_until:
            return
        try:
            self._flush()
        except TrackingError as error:
            print(f"{self._name}: continues, and records its points later: {error}", file=sys.stderr)
            self._pause_until = time.monotonic() + PAUSE

    def finish(self, results: Sequence[Result], params: Params, written: Sequence[Path]) -> None:
        """Record the points that wait, what was found at all points, and a view of them.

        Raises:
            UserError: The store is out of reach.
        """
        try:
            self._flush()
            log_sweep(self._name, results, params, written, own=provenance.given_run() is None)
            points = [result.point for result in results]
            store.set_experiment_tag(experiment(), sweep_view.tag(self._name), sweep_view.view(self._name, points))
        except TrackingError as error:
            raise UserError(
                f"{self._name}: its results are whole, in {written[0].parent}, but not all is recorded: {error}; "
                "the same command again trains nothing and records the rest"
            ) from None

    def _flush(self) -> None:
        while self._waiting:
            task, outcome, seconds = self._waiting[0]
            log_point(self._name, self._images[task.point.params.data], task, outcome, seconds)
            self._waiting.pop(0)


def log_point(name: str, images: ImageFiles, task: Task, outcome: Outcome, seconds: float) -> None:
    """Log one population of a sweep, once: a top-level run with means over seeds, the seeds nested.

    The run of a population that confirms a point has the tag `role`. Its training's `seconds` are logged if known.
    """
    at_point = task.point.label() + (" confirmed" if task.confirms else "")
    digest = f"{name} {at_point} {task.digest}"  # sweeps and points that share a population have a run each
    if store.has_run(digest, experiment()):
        return
    variant, params = task.variant, task.point.params
    given = training_params(params, variant)
    tags = {"stage": "sweep", "sweep": name, "variant": variant, **({"role": "confirm"} if task.confirms else {})}
    tags |= colour_tag(variant)
    with start_run(f"{variant} {at_point} [{name}]", {**tags, LEVEL_TAG: "point"}, experiment()) as run:
        run.log_params(given)
        log_images(run, params.data.dataset, images, "training")
        run.log_metrics(curves(outcome) | _probed(task, outcome))
        diverged = float(np.count_nonzero(outcome.diverged_at))
        run.log_metrics(_finite({"diverged": diverged, "seconds": seconds} | sweep_view.logarithm(task.point)))
        for at, seed in enumerate(params.train.seeds):
            own = {**given, "seed": seed, "diverged_at": int(outcome.diverged_at[at]) or None}
            run.log_child(
                f"{variant} {at_point} seed {seed} [{name}]",
                own,
                curves(outcome, at) | _probed(task, outcome, at),
                {LEVEL_TAG: "seed"},
            )
        run.set_tags({OUTPUTS_TAG: digest})
    duplicates.keep_first(run, digest)


def log_sweep(name: str, results: Sequence[Result], params: Params, paths: Sequence[Path], *, own: bool) -> None:
    """Log what a sweep has found and its files, in a run of its `own` or in the one that `mlflow run` has started.

    Equal ones are recorded once in a run of their own.
    """
    content = b"".join(path.read_bytes() for path in paths)
    digest = f"{name} {hashlib.sha256(content).hexdigest()}"
    if own and store.has_run(digest, experiment()):
        return
    tags = {
        "stage": "sweep",
        "sweep": name,
        LEVEL_TAG: "summary",
        **NEUTRAL,
        "mlflow.note.content": _answer(paths) + "The points are the runs with the same tag `sweep`.",
    }
    with start_run(f"summary [{name}]", tags, experiment() if own else None) as run:
        points = [result.point.values for result in results if not result.added]
        spans = {key: dict.fromkeys(values[key] for values in points) for key in points[0]}
        run.log_params({f"grid.{key}": ",".join(values) for key, values in spans.items()})
        if params.data.holdout:  # otherwise no best point is chosen
            _log_best(run, results, params)
        run.log_artifacts(paths, "results")
        run.set_tags({OUTPUTS_TAG: digest})
    if own:
        duplicates.keep_first(run, digest)


def _log_best(run: Run, results: Sequence[Result], params: Params) -> None:
    """Log the best point of each variant and, on the test images, what it reaches and how the two differ."""
    chosen, confidence = choose(results), params.evaluate.confidence
    found: dict[str, float] = {}
    for variant, comparison in compare_best(chosen, params.evaluate).items():
        whose = f" {variant}" if len(chosen) > 2 else ""
        difference = comparison.difference
        found[f"test_accuracy/difference{whose}"] = difference.value
        found[f"test_accuracy/low{whose}"], found[f"test_accuracy/high{whose}"] = difference.low, difference.high
    for variant, result in chosen.items():
        accuracy = result.tested(variant)
        found[f"test_accuracy/{variant}"] = summarise(accuracy, confidence).mean.value
        found[f"failed/{variant}"] = failures(accuracy, confidence).count
        run.log_params({f"best.{variant}.{key}": value for key, value in result.point.values.items()})
    run.log_metrics(_finite(found))


def _finite(values: Mapping[str, float]) -> dict[str, Points]:
    """Return those values that are known, as metrics of one point each."""
    return {name: [(0, value)] for name, value in values.items() if math.isfinite(value)}


def _answer(paths: Sequence[Path]) -> str:
    """Return what a sweep has found in words, for its description, and a gap."""
    return "".join(path.read_text(encoding="utf-8") + "\n" for path in paths if path.name == "answer.md")


def _probed(task: Task, outcome: Outcome, member: int | None = None) -> dict[str, Points]:
    """Return what the probe measured as one number, by iteration: of one member, or means over the members."""
    if task.probe is None:
        return {}
    return {
        f"probe/{name}": list(zip(task.probe.steps(), mean_or_member(values, member), strict=False))
        for name, values in outcome.probed.items()
        if values.ndim == 2
    }
