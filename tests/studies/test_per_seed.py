"""Anyone can recompute the committed intervals from the values of every seed: here by SciPy, not by our code."""

import json
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from pipeline.sweeps.seeds import parse_seeds
from pipeline.sweeps.study import load_study
from tests.studies.committed import STUDIES, committed, committed_rows
from tools.sandbox import ROOT

Row = dict[str, str]


def by_seed(table: Sequence[Row], keys: Sequence[str], column: str) -> dict[tuple[str, ...], dict[str, float]]:
    """A column's values by seed, for each point and variant; those of trainings that diverged are left out."""
    values: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in table:
        if not row["diverged_at"]:
            values[tuple(row[key] for key in keys)][row["seed"]] = float(row[column])
    return values


def interval(values: Sequence[float]) -> list[float]:
    """The mean with Student's 95 % interval."""
    if len(values) < 2:
        return [*values]
    mean = np.mean(values)
    return [float(mean), *stats.t.interval(0.95, len(values) - 1, mean, stats.sem(values))]


def close(row: Row, names: Sequence[str], numbers: Sequence[float]) -> bool:
    """Whether the cells of a row are these numbers, rounded to four digits."""
    cells = [float(row[name]) for name in names if row[name]]
    return len(cells) == len(numbers) and np.allclose(cells, numbers, rtol=0, atol=0.5001e-4)


def variants_of(row: Row) -> list[str]:
    """The variants that a table compares, first the control."""
    return [name.removesuffix("_accuracy") for name in row if name.endswith("_accuracy")]


def check(row: Row, values: dict[str, dict[str, float]]) -> None:
    """Compare a row with the accuracies by seed of each variant, first the control."""
    for variant, by_its_seeds in values.items():
        numbers = [*by_its_seeds.values()]
        assert close(row, [f"{variant}_{end}" for end in ("accuracy", "low", "high")], interval(numbers)), row
        assert close(row, [f"{variant}_median"], [float(np.median(numbers))] if numbers else []), row
        lost = int(row[f"{variant}_n"]) - len(numbers)
        assert int(row[f"{variant}_failed"]) == lost + sum(number < 0.9 for number in numbers), row
    control, *treatments = values
    for variant in treatments:
        start = f"{variant}_" if len(treatments) > 1 else ""
        pairs = [values[variant][seed] - number for seed, number in values[control].items() if seed in values[variant]]
        assert int(row[f"{start}pairs"]) == len(pairs)
        ends = [f"{start}{end}" for end in ("difference", "difference_low", "difference_high")]
        assert close(row, ends, interval(pairs)), row


@pytest.mark.parametrize("study", STUDIES)
def test_the_table_of_a_study_follows_from_its_seeds(study: str) -> None:
    folder = f"studies/{study}/results"
    seeds, table = committed_rows(f"{folder}/per_seed.csv"), committed_rows(f"{folder}/table.csv")
    keys = [key for key in seeds[0] if "." in key]
    choosing = [row for row in seeds if row.get("role", "choose") == "choose"]
    values = by_seed(choosing, [*keys, "variant"], "validation_accuracy")
    for row in table:
        point = tuple(row[key] for key in keys)
        check(row, {variant: values[*point, variant] for variant in variants_of(row)})


CONFIRMED = {study: load_study(ROOT / "studies" / study).confirm for study in STUDIES}


@pytest.mark.parametrize("study", [study for study, seeds in CONFIRMED.items() if seeds])
def test_what_a_study_confirms_follows_from_its_fresh_seeds(study: str) -> None:
    folder = f"studies/{study}/results"
    seeds, table = committed_rows(f"{folder}/per_seed.csv"), committed_rows(f"{folder}/confirmed.csv")
    first, *others = [key for key in seeds[0] if "." in key]
    fresh = [row for row in seeds if row["role"] == "confirm"]
    values = by_seed(fresh, [*others, first, "variant"], "test_accuracy")
    for row in table:
        group = [row[key] for key in others]
        found = {variant: values[*group, row[f"{variant}_{first}"], variant] for variant in variants_of(row)}
        count = len(parse_seeds("confirm", CONFIRMED[study] or ""))
        assert {int(row[f"{variant}_n"]) for variant in found} == {count}
        check(row, found)


def test_the_labs_answer_follows_from_its_seeds() -> None:
    values = by_seed(committed_rows("results/lab/per_seed.csv"), ["variant"], "test_accuracy")
    plain, batchnorm = values["plain",], values["batchnorm",]
    found = json.loads(committed("results/lab/comparisons.json"))["test"]["accuracy"]
    difference = interval([batchnorm[seed] - plain[seed] for seed in plain])
    assert np.allclose([found["difference"][end] for end in ("value", "low", "high")], difference, rtol=0, atol=1e-9)
    failed = {variant: sum(number < 0.9 for number in values[variant,].values()) for variant in ("plain", "batchnorm")}
    assert {variant: counted["count"] for variant, counted in found["failures"].items()} == failed
