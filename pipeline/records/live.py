"""The curves of a long training while it runs: those of each seed and, as soon as all have come so far, their means."""

import math
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from pipeline.records.trainings import LIVE_METRICS
from pipeline.tracking.errors import TrackingError
from pipeline.tracking.runs import Run
from pipeline.training.loop import Epoch

if TYPE_CHECKING:
    from pipeline.records.stages import TrainRecord
    from pipeline.tracking.values import Points

PAUSE = 20.0  # seconds before the first points are sent, and between two times


class LiveCurves:
    """Sends the points of completed epochs to a run, now and then; called with every epoch that a part reports.

    Points that were sent are left out of what the record logs at the end. If the store fails, nothing more is sent:
    the record is what counts.
    """

    def __init__(self, run: Run, record: "TrainRecord") -> None:
        self._run = run
        self._record = record
        self._of_seed: defaultdict[int, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        self._next = time.monotonic() + PAUSE

    def __call__(self, epoch: Epoch) -> None:
        """Note an epoch of some seeds, and send what there is if it is time."""
        reported = {"train_loss": epoch.train_loss, **epoch.measured}
        for member, seed in enumerate(epoch.seeds):
            for name, metric in LIVE_METRICS.items():
                self._of_seed[seed][metric][epoch.number] = reported[name][member]
        if time.monotonic() >= self._next:
            self._send()
            self._next += PAUSE

    def _send(self) -> None:
        try:
            for seed, curves in self._of_seed.items():
                child = self._run.live_child(self._record.name_of(seed), self._record.tags)
                child.log_live({metric: sorted(values.items()) for metric, values in curves.items()})
            self._run.log_live(self._means())
        except TrackingError:
            self._next = math.inf

    def _means(self) -> "dict[str, Points]":
        """Return the means at the epochs that all seeds have reached."""
        means: dict[str, Points] = {}
        for metric in LIVE_METRICS.values():
            seeds = [self._of_seed[seed][metric] for seed in self._record.params.train.seeds]
            steps = sorted(set.intersection(*map(set, seeds)))
            means[metric] = [(step, sum(values[step] for values in seeds) / len(seeds)) for step in steps]
        return means
