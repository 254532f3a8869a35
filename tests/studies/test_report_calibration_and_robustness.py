"""The report on calibration and robustness, from hand-made outcomes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.lines import Line2D

from pipeline.params import Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.result import Result
from studies.calibration_and_robustness import report as calibration
from tests.studies.outcomes import Floats, check, outcome, primary_of, results, table

Make = Callable[..., Params]

PLAIN = {
    **dict.fromkeys(("accuracy", "clean", "noise", "moved", "contrast", "fgsm"), 0.9),
    "nll": 0.2,
    "ece": 0.05,
    "temperature": 1.3,
    "scaled_nll": 0.18,
    "scaled_ece": 0.02,
    "pgd": 0.1,
}
OWN = {"running": 1.1, "batch": 1.05, "recomputed": 1.0}  # what Batch Normalization's measurements are multiplied by


def measured(factors: dict[str, float], last: float = 1) -> Outcome:
    """Three seeds, of which each further one has 1 % more; before training everything is 5."""
    spread = np.array([1, 1.01, 1.02])
    probed = {
        f"{kind}_{name}": np.stack([np.full(3, 5.0), last * factor * value * spread], axis=1)
        for kind, factor in factors.items()
        for name, value in PLAIN.items()
    }
    return outcome([0.9, 0.91, 0.92], probed)


def swept() -> list[Result]:
    """Of two rates the second is better for both; only it is confirmed, and its choosing seeds measured otherwise."""
    same = dict.fromkeys(OWN, 1.0)
    poor = replace(measured(same, 7), validation_accuracy=np.full((3, 3), 0.5))
    first, second = results({"lr": ["0.01", "0.03"]}, [poor, measured(same, 9)], [poor, measured(OWN, 9)], "0,1,2")
    fresh: dict[Variant, Outcome] = {"plain": measured(same), "batchnorm": measured(OWN)}
    return [first, replace(second, confirmed=fresh, seeds=(7, 8, 9))]


def heights(line: Line2D) -> Floats:
    return np.asarray(line.get_ydata(), float)


def test_measurements_are_those_of_the_fresh_seeds_at_the_end(params: Make) -> None:
    report = calibration.report(swept(), params(), [0, 125], primary_of("calibration_and_robustness"))
    rows = {(row["measured"], row["statistics"]): row for row in table(report, "calibration")}
    assert len(rows) == 6 * 3
    row = rows["negative log-likelihood", "running"]
    assert (row["plain"][:6], row["Batch Normalization"][:6]) == ("0.2020", "0.2222")
    assert row["difference"].startswith("0.0202 [")
    assert row["verdict"] == "higher"
    assert rows["negative log-likelihood", "recomputed"]["verdict"] == "no difference is shown"
    assert rows["accuracy", "recomputed"]["verdict"] == "equivalent within 0.002"
    assert {row["outcome"] for row in table(report, "pairs")} >= {
        "negative log-likelihood, running statistics",
        "accuracy under PGD, batch statistics",
    }
    assert table(report, "pairs")[0]["seed"] == "7"
    assert any(
        "seeds 7 to 9, the only ones tested: plain 0.03 and Batch Normalization 0.03." in line for line in report.lines
    )
    check(report, "calibration_and_robustness")


def test_figures_show_errors_of_accuracies_with_intervals(params: Make) -> None:
    report = calibration.report(swept(), params(), [0, 125], None)
    rows = table(report, "robustness")
    assert [row["measured"] for row in rows[::3]][-1] == "accuracy under PGD"
    axis, gains = report.figures["robustness"].axes
    marks = [line for line in axis.lines if line.get_linestyle() == "None"]
    assert [line.get_marker() for line in marks] == ["s", "o", "^", "D"]
    assert heights(marks[0])[-1] == pytest.approx(100 - 10.1)
    differences = [heights(line)[-1] for line in gains.lines if line.get_linestyle() == "None"]
    assert differences == pytest.approx([1.01, 0.505, 0])  # of the accuracies under PGD, in percentage points
    panels = report.figures["calibration"].axes
    assert [axis.get_title() for axis in panels][:2] == ["accuracy", "negative log-likelihood"]
    nll = [line for line in panels[1].lines if line.get_linestyle() == "None"]
    assert [heights(line)[0] for line in nll] == pytest.approx([0.202, 0.2222, 0.2121, 0.202])
