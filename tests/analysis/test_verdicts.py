"""The rule by which a comparison is judged, as a table of cases."""

import numpy as np
import pytest

from pipeline.analysis.statistics import compare
from pipeline.analysis.verdicts import Question, judge, verdict
from pipeline.errors import UserError

NAN = float("nan")


def question(differences: list[float], margin: float | None = 0.002) -> Question:
    values = np.array(differences, float)
    return Question(compare(values, np.zeros_like(values), 0.95), margin=margin)


UP, DOWN, NONE, ONE = question([0.1, 0.2]), question([-0.1, -0.2]), question([NAN]), question([0.1])


@pytest.mark.parametrize(
    ("asked", "p", "p_equivalent", "words"),
    [
        (UP, 0.049, 0.9, "higher"),
        (DOWN, 0.049, 0.9, "lower"),
        (UP, 0.05, 0.9, "no difference is shown"),
        (UP, 1.0, NAN, "no difference is shown"),
        (UP, 0.3, 0.049, "equivalent within 0.002"),
        (UP, 0.3, 0.05, "no difference is shown"),
        (UP, 0.01, 0.01, "higher, but equivalent within 0.002"),
        (DOWN, 0.01, 0.01, "lower, but equivalent within 0.002"),
        (ONE, NAN, NAN, "too few pairs to tell"),
        (NONE, NAN, NAN, "no verdict: no pair to compare"),
        (Question(UP.comparison, "better", "worse"), 0.01, NAN, "better"),
        (Question(DOWN.comparison, "better", "worse"), 0.01, NAN, "worse"),
    ],
)
def test_a_verdict_follows_from_the_p(asked: Question, p: float, p_equivalent: float, words: str) -> None:
    assert verdict(asked, p, p_equivalent, 0.05) == words


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([0.1, 0.11, 0.12], "higher"),
        ([-0.1, -0.11, -0.12], "lower"),
        ([0.1, -0.1, 0.2], "no difference is shown"),
        ([0.0001, -0.0001, 0.0001, 0.0], "equivalent within 0.002"),
        ([0.0010, 0.0011, 0.0012], "higher, but equivalent within 0.002"),
        ([0.0, 0.0], "equivalent within 0.002"),
        ([0.1], "too few pairs to tell"),
        ([NAN, NAN], "no verdict: no pair to compare"),
    ],
)
def test_the_primary_outcome_is_judged_by_its_own_interval(differences: list[float], words: str) -> None:
    asked = question(differences)
    found = judge({"main": asked}, "main", 0.95)["main"]
    assert found.verdict == words
    assert words.startswith(("higher", "lower")) == asked.comparison.difference.excludes(0)


def test_the_others_are_corrected_and_the_primary_one_is_not() -> None:
    weak = question([2.2, -0.2] * 5, None)
    assert 0.025 < weak.comparison.p() < 0.05
    family = {"a": weak, "b": weak, "c": question([1, -1] * 5, None)}
    assert {judge({"a": weak}, None, 0.95)["a"].verdict} == {"higher"}
    found = judge(family, "a", 0.95)
    assert (found["a"].verdict, found["a"].p) == ("higher", weak.comparison.p())
    assert found["b"].p == pytest.approx(2 * weak.comparison.p())
    assert [judgement.p for judgement in judge(family, None, 0.95).values()][:2] == [
        pytest.approx(3 * weak.comparison.p())
    ] * 2


def test_equivalences_are_corrected_as_a_family_of_their_own() -> None:
    close = question([0.00286, -0.00286] * 5)
    assert 0.025 < close.comparison.p_equivalent(0.002) < 0.05
    assert judge({"a": close}, None, 0.95)["a"].verdict == "equivalent within 0.002"
    assert judge({"a": close, "b": close}, "a", 0.95)["b"].verdict == "equivalent within 0.002"
    assert judge({"a": close, "b": close, "c": close}, "a", 0.95)["b"].verdict == "no difference is shown"


def test_a_primary_outcome_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^primary = 'c': no such outcome; choose from 'a', 'b'$"):
        judge({"a": UP, "b": UP}, "c", 0.95)
