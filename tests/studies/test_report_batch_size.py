"""The report on batch sizes: kinds of networks, statistics and ghost batches, from hand-made outcomes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.params import Params, Variant
from pipeline.sweeps.grid import list_points
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.result import Result, choose, groups
from studies.batch_size import report as batch_size
from tests.samples import PARAMS
from tests.studies.outcomes import Floats, check, outcome, primary_of, table

Make = Callable[..., Params]

NORM = "Batch Normalization"
VARIANTS: tuple[Variant, ...] = ("plain", "batchnorm", "layernorm")
HELD: dict[tuple[str, str, Variant], list[float]] = {  # held-out accuracies by the rates 0.002, 0.008 and 0.032
    ("4", "0", "plain"): [0.93, 0.92, 0.1],
    ("4", "0", "batchnorm"): [0.8, 0.91, 0.5],
    ("4", "0", "layernorm"): [0.95, 0.93, 0.92],
    ("2000", "0", "plain"): [0.5, 0.8, 0.9],
    ("2000", "0", "batchnorm"): [0.9, 0.93, 0.91],
    ("2000", "0", "layernorm"): [0.8, 0.91, 0.92],
    ("2000", "16", "batchnorm"): [0.9, 0.91, 0.94],
}
TESTED: dict[tuple[str, str, Variant], list[float]] = {  # by fresh seeds
    ("4", "0", "plain"): [0.92, 0.93, 0.94],
    ("4", "0", "batchnorm"): [0.90, 0.91, 0.92],
    ("4", "0", "layernorm"): [0.95, 0.96, 0.97],
    ("2000", "0", "plain"): [0.85, 0.91, 0.92],
    ("2000", "0", "batchnorm"): [0.92, 0.93, 0.94],
    ("2000", "0", "layernorm"): [0.92, 0.93, 0.94],
    ("2000", "16", "batchnorm"): [0.93, 0.94, 0.95],
}


def measured(accuracy: Sequence[float], measurements: int, gain: float) -> Outcome:
    """An outcome whose recomputed statistics are `gain` better at the end, and wrong before."""
    final = np.array(accuracy, float)

    def to_end(values: Floats) -> Floats:
        return np.stack([np.full_like(values, 0.1)] * (measurements - 1) + [values], axis=1)

    probed = {
        f"{part}{kind}": to_end(final + (gain if kind == "recomputed" else 0))
        for part in ("", "test_")
        for kind in ("running", "recomputed")
    }
    return outcome(accuracy, probed)


def swept() -> list[Result]:
    keys = ("train.lr", "train.batch_size", "model.ghost_batch")
    rates = ["0.002", "0.008", "0.032"]
    grids = [(rates, ["4", "2000"], ["0"]), (rates, ["2000"], ["16"])]
    points = list_points(PARAMS, {"seeds": "0,1"}, *(dict(zip(keys, grid, strict=True)) for grid in grids))
    results = []
    for point in points:
        rate, size, ghost = point.values.values()
        outcomes: dict[Variant, Outcome] = {}
        for variant in VARIANTS:
            kind = (size, ghost if variant == "batchnorm" else "0", variant)
            accuracy = HELD[kind][rates.index(rate)]
            outcomes[variant] = measured([accuracy] * 2, 6 if size == "4" else 2, 0)
        results.append(Result(point, outcomes))
    confirmed = []
    for (size, ghost), group in groups(results).items():
        for result in group:
            fresh = {
                variant: measured(
                    TESTED[size, ghost if variant == "batchnorm" else "0", variant],
                    6 if size == "4" else 2,
                    0.03 if variant == "batchnorm" and size == "4" else 0,
                )
                for variant, best in choose(group).items()
                if best is result
            }
            confirmed.append(replace(result, confirmed=fresh, seeds=(7, 8, 9)))
    return confirmed


def test_kinds_are_compared_at_each_batch_size_at_their_best_rates(params: Make) -> None:
    report = batch_size.report(swept(), params(seeds="0,1"), [], primary_of("batch_size"))
    rows = table(report, "batches")
    assert [(row["batch size"], row["treatment"], row["control"]) for row in rows] == [
        ("4", NORM, "Layer Normalization"),
        ("4", NORM, "plain"),
        ("2000", NORM, "Layer Normalization"),
        ("2000", NORM, "plain"),
    ]
    assert (rows[0]["treatment: point"], rows[0]["control: point"]) == ("0.008", "0.002")
    assert rows[0]["difference"] == "-0.0500 [-0.0500, -0.0500]"
    assert rows[0]["verdict"] == "Layer Normalization is better"
    assert (rows[2]["difference"], rows[2]["verdict"]) == ("0.0000 [0.0000, 0.0000]", "equivalent within 0.002")
    assert rows[3]["control: failed"] == "1/3 [0.01, 0.91]"
    assert any("with seeds 0, 1, and confirmed with fresh seeds 7 to 9" in line for line in report.lines)
    check(report, "batch_size")


def test_ghost_batches_are_compared_with_whole_ones(params: Make) -> None:
    report = batch_size.report(swept(), params(seeds="0,1"), [], None)
    (row,) = table(report, "ghosts")
    assert (row["ghost batch"], row["treatment: point"], row["control: point"]) == ("16", "0.032", "0.008")
    assert (row["difference"], row["verdict"]) == ("0.0100 [0.0100, 0.0100]", "normalising 16 images is better")


def test_statistics_are_those_of_the_same_networks_at_the_end(params: Make) -> None:
    report = batch_size.report(swept(), params(seeds="0,1"), [], None)
    few, many = table(report, "statistics")
    assert (few["batch size"], many["batch size"]) == ("4", "2000")
    assert few["running statistics"].startswith("0.9100 [")
    assert few["recomputed statistics"].startswith("0.9400 [")
    assert few["recomputed minus running"] == "0.0300 [0.0300, 0.0300]"
    assert few["verdict"] == "recomputed ones are better"
    assert many["verdict"] == "equivalent within 0.002"
    pairs = [row for row in table(report, "pairs") if row["outcome"].startswith("batches of 4: recomputed")]
    assert pairs[0] == {"outcome": pairs[0]["outcome"], "seed": "7", "treatment": "0.93", "control": "0.9"}


def test_the_figure_shows_whole_batches_and_ghosts_with_failures_marked(params: Make) -> None:
    report = batch_size.report(swept(), params(seeds="0,1"), [], None)
    whole, ghosts = report.figures["batch_size"].axes
    crosses = [line for line in whole.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[2000]]  # type: ignore[arg-type]
    assert list(ghosts.lines[0].get_xdata()) == [16, 2000]  # type: ignore[arg-type]
