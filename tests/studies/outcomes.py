"""Hand-made outcomes for the reports of the studies, and what every report must be."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis import figures
from pipeline.files import to_csv
from pipeline.params import Params, Variant, load
from pipeline.sweeps.grid import Point, list_points, parse_grid
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result, best, groups
from pipeline.sweeps.seeds import parse_seeds
from pipeline.sweeps.study import load_study
from tests.samples import PARAMS, ROOT
from tests.studies.committed import committed

Floats = NDArray[np.float64]


def outcome(
    accuracy: Sequence[float], probed: dict[str, Floats] | None = None, test: Sequence[float] | None = None
) -> Outcome:
    """Two epochs; 0.1, half of the final accuracy, and the final accuracy per seed; a loss of 1 less the accuracy."""
    final = np.array(accuracy, float)
    curve = np.stack([np.full_like(final, 0.1), final / 2, final], axis=1)
    tested = final if test is None else np.array(test, float)
    return Outcome(1 - curve[:, 1:], 1 - curve, curve, 1 - tested, tested, np.zeros_like(final), probed or {})


def results(
    spans: dict[str, list[str]], plain: list[Outcome], batchnorm: list[Outcome], seeds: str = "0,1"
) -> list[Result]:
    points = list_points(PARAMS, {"seeds": seeds, "epochs": "2"}, spans)
    return [Result(point, {"plain": p, "batchnorm": b}) for point, p, b in zip(points, plain, batchnorm, strict=True)]


def swept(
    study: str, held_out: Callable[[Params, Variant], float], tested: Callable[[Params, Variant], float]
) -> list[Result]:
    """Results of a study's own grid, seeds and variants: what its best points reach is confirmed with fresh seeds.

    Args:
        study: The study's name.
        held_out: A variant's accuracy on the held-out images at a point, whatever the seed.
        tested: That of fresh seeds on the test images; all trainings differ from it by the seed, equally.
    """
    settings = load_study(ROOT / "studies" / study)
    fresh = parse_seeds("confirm", settings.confirm or "")
    points = list_points(PARAMS, settings.overrides, *map(parse_grid, settings.grids))

    def reached(point: Point, variant: Variant) -> Outcome:
        return outcome([held_out(point.params, variant)] * len(point.params.train.seeds))

    found = [Result(point, {variant: reached(point, variant) for variant in settings.variants}) for point in points]
    confirmed: dict[int, dict[Variant, Outcome]] = {}
    for group in groups(found).values():
        for variant in settings.variants:
            chosen = best(group, variant)
            accuracies = tested(chosen.point.params, variant) + 1e-4 * np.arange(len(fresh))
            at = next(at for at, result in enumerate(found) if result is chosen)
            confirmed.setdefault(at, {})[variant] = outcome(accuracies.tolist())
    return [
        replace(result, confirmed=confirmed[at], seeds=fresh) if at in confirmed else result
        for at, result in enumerate(found)
    ]


def shared_params(study: str, **overrides: str) -> Params:
    """The parameters that all points of a study share."""
    return load(PARAMS, {**load_study(ROOT / "studies" / study).overrides, **overrides})


def table(report: Report, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(*report.tables[name]))))


def primary_of(study: str) -> str | None:
    """The primary outcome as the study names it: a report refuses a name that is not one of its outcomes."""
    return load_study(ROOT / "studies" / study).primary


def check(report: Report, study: str) -> None:
    """Every figure can be rendered, with labels on every axis; the text is the committed one, but for numbers."""
    for figure in report.figures.values():
        assert figures.png(figure, dpi=30).startswith(b"\x89PNG")
        assert all(axis.get_xlabel() and axis.get_ylabel() and axis.get_title() for axis in figure.axes)
    for name, (header, rows) in report.tables.items():
        assert name == "pairs" or all(f"| {' | '.join(row)} |" in report.lines for row in (header, *rows))
    assert not any("nan" in line for line in report.lines)
    expected = outline(report.lines)
    assert outline(committed(f"studies/{study}/results/answer.md").splitlines())[: len(expected)] == expected


def outline(lines: Sequence[str]) -> list[str]:
    """The sentences, and the first line of every table, without their numbers."""
    first = [line for before, line in pairwise(["", *lines]) if not (before.startswith("|") and line.startswith("|"))]
    numbered = [re.sub(r"\d+", "#", line) for line in first]
    alike = [re.sub(r"\bseeds? #(?:(?:,| to) #)*", "seeds #", line) for line in numbered]
    return [line.replace("# epochs", "# epoch") for line in alike]
