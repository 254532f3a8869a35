"""Tables, numbers and intervals as text."""

import math

import pytest

from pipeline.analysis.statistics import Interval
from pipeline.analysis.tables import format_interval, format_number, markdown_table
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


def test_no_other_module_makes_a_table() -> None:
    folders = ("pipeline", "studies", "benchmarks", "tools")
    modules = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    makers = [path for path in modules if "---" in path.read_text(encoding="utf-8")]
    assert makers == [ROOT / "pipeline" / "analysis" / "tables.py"]
