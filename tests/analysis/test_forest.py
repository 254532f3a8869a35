"""Forest plots: a row for each difference."""

import numpy as np
import pytest

from pipeline.analysis.figures import png
from pipeline.analysis.forest import Effect, forest
from pipeline.analysis.statistics import Interval

NONE = Interval(float("nan"), float("nan"), float("nan"))


def test_differences_and_intervals_are_in_percentage_points_from_the_top() -> None:
    effects = [
        Effect("worse", Interval(-0.05, -0.07, -0.03), "#123456", "^"),
        Effect("alike", Interval(0.001, -0.001, 0.003)),
        Effect("no pair", NONE),
        Effect("one pair", Interval(0.01, float("nan"), float("nan"))),
    ]
    figure = forest({"left": effects, "right": effects[:1]}, "network", 0.002, "Note.")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == [effect.name for effect in effects]
    low, high = left.get_ylim()
    assert low > high  # the first row is the uppermost
    lines = [np.array(line.get_xydata()) for line in left.lines[1:]]
    assert lines[0] == pytest.approx(np.array([[-7, 0], [-5, 0], [-3, 0]]))
    assert lines[1] == pytest.approx(np.array([[-5, 0]]))
    assert [len(line) for line in lines] == [3, 1, 3, 1, 0, 1, 1, 1]
    assert (left.lines[1].get_color(), left.lines[2].get_marker()) == ("#123456", "^")
    assert left.get_xlim() == right.get_xlim()
    assert left.get_xlim()[0] < -7
    ticks = [label.get_text() for label in left.get_xticklabels()]
    assert ticks == ["-5", "-2", "-1", "-0.5", "-0.2", "0", "0.2", "0.5", "1"]
    assert png(figure, dpi=30).startswith(b"\x89PNG")


def test_without_any_difference_the_axis_shows_the_margin() -> None:
    (axis,) = forest({"none": [Effect("no pair", NONE)]}, "network", 0.01, "Note.").axes
    assert axis.get_xlim() == pytest.approx((-1.4, 1.4))
