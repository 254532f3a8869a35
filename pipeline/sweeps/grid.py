"""Grids of parameters: from texts such as `train.lr=log(1e-4,1,9)` to the points that they span."""

import csv
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.params import TEXTS, VARIANTS, Params, ParamsFile, Variant, format_value, parse

RANGE = re.compile(r"(log|lin|random)\(([^,()]+),([^,()]+),([^,()]+)\)")
IMAGES = ("data.dataset", "data.directory")  # keys that name images, which are no setting to choose
WORKERS = "train.workers"  # which no result has among its parameters
# All points share how many images are held out, the seeds, the processor and the evaluation.
SHARED = (
    "data.holdout",
    "train.seeds",
    "train.device",
    "train.threads",
    "train.matmul_precision",
    "evaluate.",
    WORKERS,
)

Grid = Mapping[str, Sequence[str]]  # the values of every key, as YAML text

SEED = 0  # of the values that are drawn
LARGE = 10_000  # trainings: more need to be confirmed


@dataclass(frozen=True)
class Point:
    """One point of a grid.

    Attributes:
        values: The values of the grid's keys, as text, by dotted name.
        params: All parameters at this point.
    """

    values: dict[str, str]
    params: Params

    def label(self) -> str:
        """Return the values in short, such as `lr=0.01 batch_size=60`."""
        return " ".join(f"{key.split('.')[1]}={value}" for key, value in self.values.items())

    def group(self) -> tuple[str, ...]:
        """Return the values of all keys but the first: points that share them are one group."""
        return tuple(self.values.values())[1:]


def group_points(points: Sequence[Point]) -> dict[tuple[str, ...], list[Point]]:
    """Group points by their values of all keys but the first."""
    grouped: dict[tuple[str, ...], list[Point]] = {}
    for point in points:
        grouped.setdefault(point.group(), []).append(point)
    return grouped


def parse_grid(specifications: Sequence[str]) -> dict[str, list[str]]:
    """Parse the specifications of a grid.

    Args:
        specifications: One `KEY=VALUES` for each key. VALUES are separated by commas, with lists in brackets, or are a
            range `log(FIRST,LAST,COUNT)` or `lin(FIRST,LAST,COUNT)`, which includes both ends, or
            `random(FIRST,LAST,COUNT)`: values drawn log-uniformly, which stay the same when COUNT grows.

    Returns:
        The values of every key, as YAML text. Keys that name images come last, because the first key is that by which
        points are chosen.

    Raises:
        UserError: A specification does not have this form, has no values, or repeats a key or a value.
    """
    grid: dict[str, list[str]] = {}
    for specification in specifications:
        key, equals, text = specification.partition("=")
        if not equals or not key.strip():
            raise UserError(f"grid {specification!r}: expected KEY=VALUES, such as train.lr=0.01,0.1")
        if key in grid:
            raise UserError(f"grid {key}: given twice")
        grid[key] = _values(key, text.strip())
        if len(set(grid[key])) < len(grid[key]):
            raise UserError(f"grid {specification}: a value is given twice")
    if not grid:
        raise UserError("grid: no key to vary; give --grid KEY=VALUES, such as --grid train.lr=0.01,0.1")
    return {key: grid[key] for key in sorted(grid, key=lambda key: bool(_matches(key, IMAGES)))}


def list_points(path: Path, overrides: Mapping[str, str], *grids: Grid) -> list[Point]:
    """List the points of all grids, without duplicates.

    Args:
        path: The params file.
        overrides: Values set at every point, as YAML text by key.
        grids: Grids of the same keys.

    Raises:
        UserError: A key or value is not allowed, all points share the key, or the grids have different keys.
    """
    file = ParamsFile(path)
    points: dict[Params, Point] = {}
    for grid in grids:
        for point in _points(file, overrides, grid):
            first = next(iter(points.values()), point)
            if [*point.values] != [*first.values]:
                raise UserError(f"grid: one varies {', '.join(first.values)}, another {', '.join(point.values)}")
            points.setdefault(point.params, point)
    return list(points.values())


def check_images(points: Sequence[Point], holdout: int) -> None:
    """Check that no point would be chosen for its images.

    Raises:
        UserError: It would: points are chosen, and the grid varies nothing but images.
    """
    key = next(iter(points[0].values))
    if holdout and key in IMAGES:
        near = f"such as --grid train.lr={points[0].params.train.lr:g}, or set data.holdout to 0"
        raise UserError(
            f"grid {key}: points are chosen by their accuracy, images are not; give another key too, {near}"
        )


def _points(file: ParamsFile, overrides: Mapping[str, str], grid: Grid) -> list[Point]:
    """List all combinations of a grid's values; the last key varies fastest."""
    known = file.params(overrides).flat()
    names = {key: full_name(key, known) for key in grid}
    repeated = [name for name in names.values() if list(names.values()).count(name) > 1]
    if repeated:
        raise UserError(f"grid {repeated[0]}: given twice")
    for key in overrides:
        if _matches(key, names.values()):
            raise UserError(f"grid {_matches(key, names.values())[0]}: also given as --{key} {overrides[key]}")
    combinations = itertools.product(*grid.values())
    by_name = [dict(zip(names.values(), combination, strict=True)) for combination in combinations]
    points: dict[Params, Point] = {}
    for values in by_name:
        point = Point(values, file.params({**overrides, **values}))
        if twin := points.get(point.params):
            raise UserError(f"grid: {point.label()} and {twin.label()} are the same point")
        points[point.params] = point
    return list(points.values())


def count_points(grid: Grid) -> int:
    """Return the number of points in a grid."""
    return math.prod(len(values) for values in grid.values())


def count_groups(grid: Grid) -> int:
    """Return the number of choices of all keys but the first."""
    return count_points(grid) // len(next(iter(grid.values())))


def digest_points(points: Sequence[Point], variants: Sequence[Variant] = VARIANTS) -> str:
    """Return a digest of a sweep: its points' parameters but those of the evaluation, however written; its variants."""
    described: list[Any] = [point.params.model_dump(mode="json", exclude={"evaluate"}) for point in points]
    described += [] if tuple(variants) == VARIANTS else [[*variants]]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def sweep_name(points: Sequence[Point], variants: Sequence[Variant] = VARIANTS) -> str:
    """Return a name for a sweep: the last parts of its keys, and the first digits of its digest."""
    return "-".join([*(key.split(".")[-1] for key in points[0].values), digest_points(points, variants)[:6]])


def full_name(key: str, known: Mapping[str, Any]) -> str:
    """Return the dotted name of a key, which may be given by its last part."""
    matches = _matches(key, [*known, WORKERS])
    if len(matches) != 1:
        raise UserError(f"grid {key}: {'ambiguous' if matches else 'not a parameter'}; choose from {', '.join(known)}")
    if matches[0].startswith(SHARED):
        shared = "data.holdout, the seeds, the processor and how they are evaluated"
        raise UserError(f"grid {matches[0]}: all points share {shared}")
    return matches[0]


def _matches(key: str, names: Iterable[str]) -> list[str]:
    key = key.replace("-", "_")
    return [name for name in names if key in (name, name.split(".")[1])]


def _values(key: str, text: str) -> list[str]:
    if _matches(key, TEXTS):  # as where one is set: neither a range nor YAML
        values = [value.strip() for value in next(csv.reader([text], skipinitialspace=True))]
        if not values or "" in values:
            raise UserError(f"grid {key}={text}: a value is empty")
        return values
    if text.startswith(("log", "lin", "random")):
        return _range(key, text)
    try:
        values = parse(f"[{text}]")
    except ValueError as error:
        raise UserError(f"grid {key}: cannot be read: {error}") from None
    if not values:
        raise UserError(f"grid {key}={text}: a value is empty")
    return [format_value(value) for value in values]


def _range(key: str, text: str) -> list[str]:
    match = RANGE.fullmatch(text)
    try:
        if not match:
            raise ValueError
        first, last, count = float(match[2]), float(match[3]), int(match[4])
        if (
            not 1 <= count <= LARGE
            or not np.isfinite([first, last, last - first]).all()
            or (match[1] != "lin" and min(first, last) <= 0)
        ):
            raise ValueError
    except ValueError:
        allowed = "log(FIRST,LAST,COUNT) and random(…) have positive ends, lin(…) any; COUNT is 1 to 10,000"
        raise UserError(f"grid {key}={text}: not a range; {allowed}") from None
    digits = 8 if match[1] == "random" else 6  # of hundreds that are drawn, no two should be equal
    return [f"{value:.{digits}g}" for value in _spaced(match[1], first, last, count)]


def _spaced(kind: str, first: float, last: float, count: int) -> Iterable[float]:
    """Return the values of a range: evenly spaced, in their logarithm if `log`, or drawn, in ascending order."""
    if kind == "random":
        drawn = np.random.default_rng(SEED).random(count)
        return np.sort(first * (last / first) ** drawn)
    return np.geomspace(first, last, count) if kind == "log" else np.linspace(first, last, count)
