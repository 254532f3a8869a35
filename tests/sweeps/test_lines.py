"""A kind of networks over a grid's first key, as lines of a figure."""

import numpy as np
import pytest

from pipeline.params import load
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.lines import error_lines
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.panels import CHOSEN_LABEL, FAILED_LABEL
from pipeline.sweeps.result import Result
from tests.samples import PARAMS

STYLE = {"color": "#123456", "linestyle": ":", "marker": "^"}


def outcome(accuracy: list[float], diverged: bool = False) -> Outcome:
    final = np.array(accuracy)
    curve = np.stack([np.zeros_like(final), final], axis=1)
    return Outcome(curve[:, 1:], curve, curve, final, final, np.full(len(final), float(diverged)))


def test_errors_are_ordered_with_the_best_and_the_failed_points_marked() -> None:
    points = list_points(PARAMS, {"seeds": "0,1,2"}, {"train.lr": ["1", "0.01", "0.1"]})
    accuracies = [outcome([0.9, 0.9, 0.9], diverged=True), outcome([0.96, 0.97, 0.98]), outcome([0.95, 0.93, 0.5])]
    results = [Result(point, {"plain": one}) for point, one in zip(points, accuracies, strict=True)]
    line, failed, chosen = error_lines("mine", results, "plain", load(PARAMS).evaluate, STYLE)
    assert (line.label, line.x) == ("mine", [0.01, 0.1, 1])
    np.testing.assert_allclose(line.y, [3, 7, np.nan])
    assert line.low is not None
    assert line.high is not None
    assert (line.low[0], line.high[0]) == pytest.approx((2.5, 3.5))
    assert STYLE.items() <= line.style.items()
    assert failed.label == FAILED_LABEL
    assert failed.x == [0.1, 1]
    assert failed.y == pytest.approx([7, 100])
    assert (chosen.label, chosen.x) == (CHOSEN_LABEL, [0.01])
    _, failed, _ = error_lines("mine", results, "plain", load(PARAMS).evaluate, STYLE, least=0.4)
    assert failed.x == [1]
    assert failed.style["color"] == chosen.style["color"] == STYLE["color"]
