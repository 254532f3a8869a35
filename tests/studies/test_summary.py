"""The summary of all studies: a line for each, computed from the pairs that are committed."""

import numpy as np
import pytest
from scipy import stats

from pipeline.sweeps.study import load_study
from studies import summary
from tests.studies.committed import STUDIES, committed_rows
from tools.sandbox import ROOT

ALL = [*summary.DIFFERENCES, *summary.RATIOS]


def test_every_study_has_a_line() -> None:
    assert sorted(primary.study for primary in ALL) == STUDIES


@pytest.mark.parametrize("primary", ALL, ids=lambda primary: primary.study)
def test_a_line_follows_from_the_pairs_of_its_study(primary: summary.Primary) -> None:
    (line,) = (row for row in committed_rows("studies/results/summary.csv") if row["study"] == primary.study)
    name = load_study(ROOT / "studies" / primary.study).primary
    pairs = [row for row in committed_rows(f"studies/{primary.study}/results/pairs.csv") if row["outcome"] == name]
    values = np.array([(row[primary.treatment], row[primary.control]) for row in pairs], float)
    ratio = primary in summary.RATIOS
    effects = np.log(values[:, 0] / values[:, 1]) if ratio else values[:, 0] - values[:, 1]
    ends = [effects.mean(), *stats.t.interval(0.95, len(effects) - 1, effects.mean(), stats.sem(effects))]
    shown = [float(line[name]) for name in ("effect", "low", "high")]
    assert np.allclose(np.exp(ends) if ratio else ends, shown, rtol=0, atol=0.5001e-4)
    assert line["pairs"] == str(len(effects))
