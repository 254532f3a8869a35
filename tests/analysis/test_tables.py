"""Tables, numbers and intervals as text."""

import math

import numpy as np
import pytest

from pipeline.analysis.statistics import Interval, proportion, summarise
from pipeline.analysis.tables import (
    PER_SEED,
    align_columns,
    format_failures,
    format_interval,
    format_mean,
    format_number,
    format_p,
    format_proportion,
    format_quartiles,
    latex_table,
    markdown_table,
    per_seed,
)
from tests.samples import ROOT

NAN, INF = math.nan, math.inf


def test_a_table_is_a_header_a_rule_and_rows() -> None:
    assert markdown_table(["", "a", "b c"], [["1", "", "3"], ["x", "y", "z"]]) == [
        "|  | a | b c |",
        "| --- | --- | --- |",
        "| 1 |  | 3 |",
        "| x | y | z |",
    ]
    assert markdown_table(["a"], []) == ["| a |", "| --- |"]


def test_columns_of_a_terminal_are_aligned() -> None:
    assert align_columns(["lr", "plain"], [["0.001", "0.9"], ["1", ""]]) == ["lr     plain", "0.001  0.9", "1"]


def test_a_table_for_latex_escapes_what_latex_would_interpret() -> None:
    assert latex_table(["batch_size", "a & b"], [["60", "50 %"], ["[5, 3]", "#1"]]) == (
        "\\begin{tabular}{ll}\n\\toprule\nbatch\\_size & a \\& b \\\\\n\\midrule\n"
        "60 & 50 \\% \\\\\n{}[5, 3] & \\#1 \\\\\n\\bottomrule\n\\end{tabular}\n"
    )


def test_numbers_have_four_decimals_unless_told_otherwise() -> None:
    assert format_number(0.12345) == "0.1235"
    assert format_number(-2) == "-2.0000"
    assert format_number(1234.5, 0) == "1234"
    assert format_number(0.5, 2) == "0.50"
    assert (format_number(0.5, sign="+"), format_number(-0.5, sign="+")) == ("+0.5000", "-0.5000")


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_number_that_is_not_finite_is_missing(value: float) -> None:
    assert format_number(value) == ""
    assert format_number(value, sign="+", missing="–") == "–"


def test_an_interval_follows_its_value_in_brackets() -> None:
    interval = Interval(0.5, -0.25, 1)
    assert format_interval(interval) == "0.5000 [-0.2500, 1.0000]"
    assert format_interval(interval, 2, sign="+") == "+0.50 [-0.25, +1.00]"


def test_a_value_without_an_interval_stands_alone() -> None:
    assert format_interval(Interval(0.5, NAN, NAN)) == "0.5000"
    assert format_interval(Interval(NAN, NAN, NAN)) == ""
    assert format_interval(Interval(NAN, NAN, NAN), missing="–") == "–"


@pytest.mark.parametrize(
    ("p", "text"), [(0.0019531, "0.002"), (0.04567, "0.046"), (1.0, "1"), (1.9e-9, "< 0.0001"), (NAN, "–")]
)
def test_a_p_has_two_digits(p: float, text: str) -> None:
    assert format_p(p, missing="–") == text


def test_proportions_have_their_interval_and_never_certainty_on_both_ends() -> None:
    assert format_proportion(proportion(10, 10, 0.95)) == "10/10 [0.69, 1.00]"
    assert format_proportion(proportion(2.5, 10, 0.95, wilson=True)) == "2.5/10 [0.08, 0.56]"  # Wilson (1927), by hand
    assert format_proportion(proportion(0, 0, 0.95), missing="–") == "–"
    assert format_failures(proportion(3, 30, 0.95), 2) == "3/30 [0.02, 0.27], 2 diverged"
    assert format_failures(proportion(0, 30, 0.95), 0) == "0/30 [0.00, 0.12]"


def test_medians_are_beside_means() -> None:
    summary = summarise(np.array([1.0, 2, 3, 4, 10]), 0.95)
    assert format_mean(summary, 1) == "4.0 (median 3.0)"
    assert format_quartiles(summary, 1) == "3.0 (2.0 to 4.0)"
    nothing = summarise(np.array([NAN]), 0.95)
    assert (format_mean(nothing), format_quartiles(nothing, missing="–")) == ("", "–")


def test_each_training_has_a_row_and_one_that_diverged_has_no_values() -> None:
    finals = [np.array([0.9, 0.1]), np.array([0.3, NAN]), np.array([1 / 3, 0.1]), np.array([0.4, 5.0])]
    rows = list(per_seed("plain", [7, 3], finals, np.array([0.0, 12.0])))
    assert rows == [
        ["plain", "7", "0.9", "0.3", "0.333333333", "0.4", ""],
        ["plain", "3", "", "", "", "", "12"],
    ]
    assert len(rows[0]) == len(PER_SEED)


def test_no_other_module_makes_a_table() -> None:
    folders = ("pipeline", "studies", "benchmarks", "tools")
    modules = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    makers = [path for path in modules if "---" in path.read_text(encoding="utf-8")]
    assert makers == [ROOT / "pipeline" / "analysis" / "tables.py"]
