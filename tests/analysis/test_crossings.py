"""Where curves pass a level."""

import math

import numpy as np
import pytest

from pipeline.analysis.crossings import at_loss, first_step


def test_a_value_is_read_where_the_loss_first_falls_to_the_target() -> None:
    losses = np.array([[4.0, 1, 2, 0.25], [4, 3, 3, 2.5], [1, 0.5, 4, 0.5], [2, np.nan, np.nan, np.nan]])
    values = np.tile([0.0, 10, 20, 30], (4, 1))
    read = at_loss(values, losses, 2)
    assert read[0] == pytest.approx(5)  # halfway from 4 to 1 in logarithms
    assert np.isnan(read[1:]).tolist() == [True, True, True]  # never reached, already there, diverged
    assert at_loss(values[:1], losses[:1], 0.5)[0] == pytest.approx(20 + 10 * math.log(4) / math.log(8))


def test_the_first_step_is_missing_where_an_accuracy_is_never_reached() -> None:
    accuracy = np.array([[0.1, 0.9, 0.8, 0.95], [0.1, 0.2, 0.3, 0.4]])
    first = first_step(accuracy, [0, 100, 300, 1000], 0.9)
    assert first[0] == 100
    assert math.isnan(first[1])
