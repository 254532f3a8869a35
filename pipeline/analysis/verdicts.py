"""What comparisons show, in words: one rule for the lab, sweeps and studies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.analysis.statistics import Comparison, holm
from pipeline.analysis.tables import format_p
from pipeline.errors import UserError

NOT_SHOWN = "no difference is shown"


@dataclass(frozen=True)
class Question:
    """A comparison that is judged.

    Attributes:
        comparison: The treatment against its control.
        more: The verdict if the treatment has the greater values.
        less: The verdict if it has the smaller ones.
        margin: The difference that does not matter, in the unit of the values; None if no such difference is named.
    """

    comparison: Comparison
    more: str = "higher"
    less: str = "lower"
    margin: float | None = None


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the p that it follows from: Student's, after Holm's correction unless the outcome is primary."""

    verdict: str
    p: float


def judge(questions: Mapping[str, Question], primary: str | None, confidence: float) -> dict[str, Judgement]:
    """Judge a family of outcomes: the primary one by its own interval, all others after Holm's correction.

    Differences are one family and equivalences another, because a question can have both answers.

    Args:
        questions: What is judged, by the names of the outcomes.
        primary: The outcome that was named in advance, if any.
        confidence: Probability that all verdicts are right where nothing differs, and that of the primary one alone.

    Raises:
        UserError: No outcome has the name of the primary one.
    """
    if primary is not None and primary not in questions:
        raise UserError(f"primary = {primary!r}: no such outcome; choose from {', '.join(map(repr, questions))}")
    others = [name for name in questions if name != primary]
    different = {name: question.comparison.p() for name, question in questions.items()}
    equivalent = {name: _p_equivalent(question) for name, question in questions.items()}
    for ps in (different, equivalent):
        ps.update(zip(others, holm([ps[name] for name in others]), strict=True))
    return {
        name: Judgement(verdict(question, different[name], equivalent[name], 1 - confidence), different[name])
        for name, question in questions.items()
    }


JUDGED = ("pairs", "p", "corrected p", "verdict")  # the heads of `judged`


def judged(question: Question, judgement: Judgement) -> list[str]:
    """Return cells: pairs, the exact p of a sign-flip test, Student's p that the verdict follows from, and that."""
    comparison = question.comparison
    return [str(comparison.pairs), format_p(comparison.sign_flip), format_p(judgement.p), judgement.verdict]


def rule(primary: str | None, margin: float | None) -> str:
    """Say how verdicts come about, and what equivalent means where there is a margin."""
    main = f"The primary outcome, {primary}, is judged by its own interval; the others are" if primary else "All are"
    corrected = f"{main} judged by Student's p after Holm's correction."
    if margin is None:
        return corrected
    tests = "by two one-sided tests, corrected likewise"
    return f"{corrected} Accuracies that differ by less than {margin:g} are called equivalent ({tests})."


def verdict(question: Question, p: float, p_equivalent: float, level: float) -> str:
    """Say in words what a comparison shows.

    Args:
        question: The comparison and its words.
        p: Of no difference, after any correction. Uncorrected, it is below the level just if the interval excludes 0.
        p_equivalent: Of a difference of the margin or more, likewise; NaN without a margin.
        level: The probability of a wrong verdict that is accepted.

    Returns:
        `more` or `less`; that the two are equivalent; that no difference is shown; or that there are no pairs or too
        few of them.
    """
    comparison, margin = question.comparison, question.margin
    if not comparison.pairs:
        return "no verdict: no pair to compare"
    if math.isnan(p):
        return "too few pairs to tell"
    equivalent = f"equivalent within {margin:g}" if p_equivalent < level else ""
    if p >= level:
        return equivalent or NOT_SHOWN
    direction = question.more if comparison.difference.value > 0 else question.less
    return f"{direction}, but {equivalent}" if equivalent else direction


def _p_equivalent(question: Question) -> float:
    return math.nan if question.margin is None else question.comparison.p_equivalent(question.margin)
