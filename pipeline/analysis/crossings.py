"""Where curves of training first pass a level: the step, or another quantity there."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.statistics import Floats


def first_step(accuracy: Floats, steps: Sequence[int], target: float) -> Floats:
    """Return the first step [seeds] at which the accuracy [seeds, measurements] is at least `target`; NaN if never."""
    reached = accuracy >= target
    first: Floats = np.where(reached.any(axis=1), np.array(steps, float)[reached.argmax(axis=1)], np.nan)
    return first


def at_loss(values: Floats, losses: Floats, target: float) -> Floats:
    """Return values where the loss first falls to a target, interpolated linearly over the logarithm of the loss.

    Args:
        values: [seeds, measurements].
        losses: [seeds, measurements].
        target: The loss.

    Returns:
        [seeds]; NaN where the loss starts at the target or below, or never falls to it.
    """
    read: Floats = np.full(len(values), np.nan)
    logarithms = np.log(losses / target)
    for seed, row in enumerate(logarithms):
        at = int((row <= 0).argmax())
        if at and row[at] <= 0:
            share = row[at - 1] / (row[at - 1] - row[at])
            read[seed] = values[seed, at - 1] + share * (values[seed, at] - values[seed, at - 1])
    return read
