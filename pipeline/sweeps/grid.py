"""Grids of parameters: `train.lr=log(1e-4,1,9)` and the like, to the points that they span."""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.params import Params, ParamsFile, parse

RANGE = re.compile(r"(log|lin)\(([^,()]+),([^,()]+),([^,()]+)\)")
# What every point has in common: the images, the pairs of a point, where they are trained, and how points are compared.
FIXED = ("data.", "train.seeds", "train.device", "train.threads", "evaluate.")

Grid = Mapping[str, Sequence[str]]  # the values, as YAML text, of every key

LARGE = 10_000  # trainings above which a sweep must be confirmed


@dataclass(frozen=True)
class Point:
    """One point of a grid: its own values by dotted name, as text, and all parameters there."""

    values: dict[str, str]
    params: Params


def read(specifications: Sequence[str]) -> dict[str, list[str]]:
    """Read `KEY=VALUES` to the values, as YAML text, of every key.

    VALUES are separated by commas (lists in brackets), or a range `log(FIRST,LAST,COUNT)` or `lin(…)`, both ends
    included.

    Raises:
        UserError: a specification is not of this form, has no values, or names a key or a value again.
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
    return grid


def points(path: Path, overrides: Mapping[str, str], *grids: Grid) -> list[Point]:
    """The points of all grids, each once, over a params file with overrides.

    Raises:
        UserError: a key or a value is not allowed, the key is one that all points share, or grids have other keys.
    """
    file = ParamsFile(path)
    found: dict[tuple[str, ...], Point] = {}
    for grid in grids:
        for point in _points(file, overrides, grid):
            first = next(iter(found.values()), point)
            if [*point.values] != [*first.values]:
                raise UserError(f"grid: one varies {', '.join(first.values)}, another {', '.join(point.values)}")
            found.setdefault(tuple(point.values.values()), point)
    return list(found.values())


def _points(file: ParamsFile, overrides: Mapping[str, str], grid: Grid) -> list[Point]:
    """All combinations of a grid's values, the last key varying fastest."""
    known = file.params(overrides).flat()
    names = {key: _full(key, known) for key in grid}
    twice = [name for name in names.values() if list(names.values()).count(name) > 1]
    if twice:
        raise UserError(f"grid {twice[0]}: given twice")
    combinations = itertools.product(*grid.values())
    values = [dict(zip(names.values(), combination, strict=True)) for combination in combinations]
    return [Point(one, file.params({**overrides, **one})) for one in values]


def size(grid: Grid) -> int:
    """How many points a grid has."""
    return math.prod(len(values) for values in grid.values())


def name(grid: Grid, overrides: Mapping[str, str]) -> str:
    """A name for a sweep: its keys, and a digest that tells other values and overrides apart."""
    digest = hashlib.sha256(json.dumps([grid, overrides], sort_keys=True).encode()).hexdigest()
    return "-".join([*(key.split(".")[-1] for key in grid), digest[:6]])


def _full(key: str, known: Mapping[str, Any]) -> str:
    found = [name for name in known if key in (name, name.split(".")[1])]
    if len(found) != 1:
        raise UserError(f"grid {key}: {'ambiguous' if found else 'not a parameter'}; choose from {', '.join(known)}")
    if found[0].startswith(FIXED):
        shared = "the images, the seeds, the processor and how they are evaluated"
        raise UserError(f"grid {found[0]}: all points share {shared}")
    return found[0]


def _values(key: str, text: str) -> list[str]:
    if text.startswith(("log", "lin")):
        return _range(key, text)
    try:
        values = parse(f"[{text}]")
    except ValueError as error:
        raise UserError(f"grid {key}: cannot be read: {error}") from None
    if not values or None in values:
        raise UserError(f"grid {key}={text}: a value is empty")
    return [str(value) for value in values]


def _range(key: str, text: str) -> list[str]:
    form = RANGE.fullmatch(text)
    try:
        if not form:
            raise ValueError
        first, last, count = float(form[2]), float(form[3]), int(form[4])
        if (
            not 1 <= count <= LARGE
            or not np.isfinite([first, last, last - first]).all()
            or (form[1] == "log" and min(first, last) <= 0)
        ):
            raise ValueError
    except ValueError:
        allowed = "log(FIRST,LAST,COUNT) has positive ends, lin(…) any, and COUNT is 1 to 10,000"
        raise UserError(f"grid {key}={text}: not a range; {allowed}") from None
    spaced = np.geomspace if form[1] == "log" else np.linspace
    return [f"{value:.6g}" for value in spaced(first, last, count)]
