"""Refining a grid: further values of its first key around the best one of each group."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.errors import UserError
from pipeline.sweeps.grid import Point, group_points

CLOSE = 1.01  # how much farther than the refined distance a neighbour may be: values are written with six digits


def number_of(point: Point) -> float:
    """Return a point's value of the first key, which must be a number."""
    key = next(iter(point.values))
    return float(point.params.flat()[key])


def has_numbers(points: Sequence[Point]) -> bool:
    """Return whether all values of the first key are numbers."""
    key = next(iter(points[0].values))
    values = [point.params.flat()[key] for point in points]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def check_numeric(purpose: str, points: Sequence[Point], least: int) -> None:
    """Check that every group has enough values of the first key, and that they are numbers.

    Args:
        purpose: What needs them, for the error message.
        points: The points of the grid.
        least: How many values a group must have.

    Raises:
        UserError: The first key has values that are no numbers, or a group has too few.
    """
    key = next(iter(points[0].values))
    if not has_numbers(points):
        raise UserError(f"{purpose}: the values of the grid's first key, {key}, must be numbers")
    for group in group_points(points).values():
        if len(group) < least:
            others = " ".join(group[0].label().split(" ")[1:])
            where = f" at {others}" if others else ""
            raise UserError(f"{purpose}: the grid's first key, {key}, needs at least {least} values{where}")


def further_values(grid: Sequence[float], tried: Sequence[float], best: float) -> list[float]:
    """Return the values to try next around the best one: at most one on each side.

    The refined distance is half of the grid's step, which is that of the values' logarithms if these are spaced more
    evenly than the values, and the median step where steps differ. A side is done if a value at this distance, or a
    closer one, was tried; a side on which nothing was tried gets a value a whole step beyond the edge.

    Args:
        grid: The grid's values, at least two, ascending.
        tried: All values that were tried, ascending.
        best: The best of them.
    """
    scale = math.log if _is_geometric(grid) else float
    back = math.exp if _is_geometric(grid) else float
    step = float(np.median(np.diff([scale(value) for value in grid])))
    further = []
    for side, others in ((-1, [value for value in tried if value < best]), (1, [v for v in tried if v > best])):
        nearest = min((abs(scale(value) - scale(best)) for value in others), default=math.inf)
        if nearest > CLOSE * step / 2:
            target = scale(best) + side * (step / 2 if others else step)
            further.append(back(0.0 if abs(target) < 1e-9 * step else target))  # what differs from 0 by rounding is 0
    return further


def value_text(value: float, like: Point) -> str:
    """Write a value as grids do; the nearest whole number if the parameter is one."""
    key = next(iter(like.values))
    return str(round(value)) if isinstance(like.params.flat()[key], int) else f"{value:.6g}"


def _is_geometric(values: Sequence[float]) -> bool:
    """Return whether the logarithms of ascending values are spaced at least as evenly as the values."""
    if values[0] <= 0:
        return False
    by_ratio, by_difference = np.diff(np.log(values)), np.diff(values)
    return bool(by_ratio.std() / by_ratio.mean() <= by_difference.std() / by_difference.mean() + 1e-9)
