"""Outcomes that are judged together."""

import numpy as np
import pytest

from pipeline.analysis.family import Family
from pipeline.analysis.statistics import compare
from pipeline.analysis.verdicts import JUDGED, Question
from pipeline.errors import UserError


def family() -> Family:
    outcomes = Family([7, 8], ("plain", "batchnorm"))
    for table, name, gains in (("a", "clear", [1.0, 1.001]), ("a", "open", [-1.0, 2]), ("b", "missing", [1, np.nan])):
        plain = np.array([1 / 3, 2])
        treatment = plain + gains
        outcomes.ask(table, name, Question(compare(treatment, plain, 0.95)), [name, "cell"], plain, treatment)
    return outcomes


def test_each_outcome_is_a_row_with_the_verdict_of_the_family() -> None:
    tables = family().tables({"a": ["outcome", "told"], "b": ["outcome", "told"]}, "clear", 0.95)
    assert list(tables) == ["a", "b", "pairs"]
    header, rows = tables["a"]
    assert header == ["outcome", "told", *JUDGED]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("clear", "cell", "higher"),
        ("open", "cell", "no difference is shown"),
    ]
    assert [row[-1] for row in tables["b"][1]] == ["too few pairs to tell"]


def test_pairs_hold_what_intervals_are_computed_from() -> None:
    header, rows = family().tables({"a": []}, None, 0.95)["pairs"]
    assert header == ["outcome", "seed", "plain", "batchnorm"]
    assert rows[0] == ["clear", "7", "0.333333333", "1.33333333"]
    assert rows[-1] == ["missing", "8", "2", ""]


def test_an_outcome_may_be_of_other_seeds() -> None:
    outcomes, values = family(), np.array([1.0, 2, 4])
    outcomes.ask("a", "more", Question(compare(values, values, 0.95)), [], values, values, seeds=[0, 1, 2])
    _, rows = outcomes.tables({"a": []}, None, 0.95)["pairs"]
    assert [row[1] for row in rows if row[0] == "more"] == ["0", "1", "2"]


def test_the_primary_outcome_is_one_of_the_family() -> None:
    with pytest.raises(UserError, match="choose from 'clear', 'open', 'missing'"):
        family().tables({}, "other", 0.95)
