"""The CSV files of a training: curves and moments, to text and back."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.files import to_csv

MOMENTS = ("mean", "std", "saturated")


def curve_to_csv(step: str, first: int, seeds: Sequence[int], values: NDArray[np.float64]) -> str:
    """Return a curve as CSV: a row for each step, with the mean and a column for each seed.

    Args:
        step: The heading of the column of steps.
        first: The number of the first step.
        seeds: The seeds.
        values: [seeds, steps].
    """
    rows = ([first + at, *map(_format, (column.mean(), *column))] for at, column in enumerate(values.T))
    return to_csv([step, "mean", *(f"seed_{seed}" for seed in seeds)], rows)


def load_curve(
    path: Path, first: int, expected_seeds: tuple[int, ...] | None = None
) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Read a curve.

    Args:
        path: A file as `curve_to_csv` makes it.
        first: The number that its first step should have.
        expected_seeds: The seeds that it should have, if they are known.

    Returns:
        The seeds, and values [seeds, steps].

    Raises:
        OSError: The file cannot be read.
        ValueError: Rows are missing, seeds differ, or a cell is not a number.
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    seeds = tuple(int(name.removeprefix("seed_")) for name in header[2:])
    if not rows or [row[0] for row in rows] != [str(first + at) for at in range(len(rows))]:
        raise ValueError(f"{path.name}: rows are missing")
    if expected_seeds not in (None, seeds):
        raise ValueError(f"{path.name}: other seeds")
    return seeds, np.array([row[2:] for row in rows], dtype=float).T


def moments_to_csv(seeds: Sequence[int], measured: Mapping[str, NDArray[Any]]) -> str:
    """Return the moments of all hidden tensors as CSV: a row for each epoch, seed and tensor.

    Args:
        seeds: The seeds.
        measured: The measurements of `activations.measure`, [seeds, epochs + 1, ...] each.
    """
    tensors = [name.removesuffix(".counts") for name in measured if name.endswith(".counts")]
    rows = (
        [epoch, seed, *tensor.split("."), *(_cell(measured, f"{tensor}.{moment}", at, epoch) for moment in MOMENTS)]
        for epoch in range(measured["loss"].shape[1])
        for at, seed in enumerate(seeds)
        for tensor in tensors
    )
    return to_csv(["epoch", "seed", "layer", "tensor", *MOMENTS], rows)


def load_moments(path: Path, seeds: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Read the moments.

    Args:
        path: A file as `moments_to_csv` makes it.
        seeds: Its seeds.

    Returns:
        [seeds, epochs + 1] by tensor and moment, such as `layer1.activation.std`.

    Raises:
        OSError: The file cannot be read.
        KeyError: A column is missing.
        ValueError: The file is empty, a row is missing, or a cell is not a number.
    """
    columns: dict[str, list[float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for moment in MOMENTS:
                if row[moment]:
                    columns.setdefault(f"{row['layer']}.{row['tensor']}.{moment}", []).append(float(row[moment]))
    if not columns:
        raise ValueError(f"{path.name} is empty")
    return {name: np.array(values).reshape(-1, len(seeds)).T for name, values in columns.items()}


def _cell(measured: Mapping[str, NDArray[Any]], name: str, member: int, epoch: int) -> str:
    return _format(measured[name][member, epoch]) if name in measured else ""


def _format(value: float) -> str:
    return format(value, ".9g")  # enough digits to recover every float32
