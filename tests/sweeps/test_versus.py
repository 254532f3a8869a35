"""Two kinds of networks, compared at chosen points."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.family import Family
from pipeline.errors import UserError
from pipeline.params import Variant, load
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.result import Result
from pipeline.sweeps.versus import HEAD, Chosen, ask_versus, choose_best
from tests.samples import PARAMS

SETTINGS = load(PARAMS).evaluate


def outcome(held_out: list[float], tested: list[float]) -> Outcome:
    curve = np.stack([np.zeros(len(held_out)), np.array(held_out)], axis=1)
    return Outcome(curve[:, 1:], curve, curve, np.array(tested), np.array(tested), np.zeros(len(tested)))


@pytest.fixture
def results() -> list[Result]:
    """Two seeds choose 0.01 for both variants, and three fresh seeds confirm it."""
    points = list_points(PARAMS, {"seeds": "0,1"}, {"train.lr": ["0.01", "0.1"]})
    plain, batchnorm = outcome([0.95, 0.96], [0.1, 0.1]), outcome([0.97, 0.98], [0.2, 0.2])
    first = Result(points[0], {"plain": plain, "batchnorm": batchnorm})
    fresh: dict[Variant, Outcome] = {
        "plain": outcome([0, 0, 0], [0.91, 0.92, 0.93]),
        "batchnorm": outcome([0, 0, 0], [0.95, 0.96, 0.97]),
    }
    other = Result(points[1], {"plain": outcome([0.9, 0.8], [1, 1]), "batchnorm": outcome([0.5, 0.5], [1, 1])})
    return [other, replace(first, confirmed=fresh, seeds=(7, 8, 9))]


def rows(treatment: Chosen, control: Chosen) -> tuple[dict[str, str], list[str]]:
    """The only row of a family's table, and the seeds of its pairs."""
    family = Family([], ("treatment", "control"))
    ask_versus(family, "table", "outcome", treatment, control, SETTINGS)
    tables = family.tables({"table": HEAD}, "outcome", SETTINGS.confidence)
    header, (row,) = tables["table"]
    return dict(zip(header, row, strict=True)), [seed for _, seed, *_ in tables["pairs"][1]]


def test_kinds_are_compared_on_the_seeds_that_confirm_them(results: list[Result]) -> None:
    row, seeds = rows(choose_best("new", results, "batchnorm"), choose_best("old", results, "plain"))
    assert seeds == ["7", "8", "9"]
    assert (row["treatment"], row["treatment: point"], row["control"]) == ("new", "0.01", "old")
    assert row["treatment: test accuracy"].startswith("0.9600 [")
    assert (row["difference"], row["verdict"]) == ("0.0400 [0.0400, 0.0400]", "new is better")


def test_kinds_are_compared_on_the_held_out_images(results: list[Result]) -> None:
    sides = (Chosen(name, results[1], name, held_out=True) for name in ("batchnorm", "plain"))
    row, seeds = rows(*sides)
    assert seeds == ["0", "1"]
    assert row["difference"] == "0.0200 [0.0200, 0.0200]"
    row, _ = rows(*(Chosen(name, results[1], name, held_out=True, least=0.965) for name in ("batchnorm", "plain")))
    assert (row["treatment: failed"][:3], row["control: failed"][:3]) == ("0/2", "2/2")
    with pytest.raises(
        UserError, match=r"^outcome: cannot be .*: batchnorm at 0\.01 has seeds 7 to 9 and plain at .* 0, 1$"
    ):
        rows(Chosen("batchnorm", results[1], "batchnorm"), Chosen("plain", results[0], "plain"))
    alone = Chosen("plain", results[0], "plain")
    assert (alone.seeds, alone.accuracy().tolist()) == ((0, 1), [1, 1])
