"""Outcomes that are judged together, with the tables that show them and the values that they are computed from."""

import math
from collections.abc import Mapping, Sequence

from pipeline.analysis.statistics import Floats
from pipeline.analysis.tables import Table
from pipeline.analysis.verdicts import JUDGED, Question, judge, judged, rule

PAIRS = "pairs"  # the table of all pairs


def closing(primary: str | None, margin: float | None, held: str = "both values of each pair") -> list[str]:
    """Return the last lines of a report: how its verdicts come about, and where the pairs are.

    Args:
        primary: The outcome that was named in advance, if any.
        margin: The difference that does not matter, if one is named.
        held: What the table of pairs holds.
    """
    return ["", rule(primary, margin), "", f"`{PAIRS}.csv` holds {held}.", ""]


class Family:
    """All outcomes of a study, of which each is a row in one of its tables."""

    def __init__(self, seeds: Sequence[int], sides: tuple[str, str]) -> None:
        """Start without outcomes; `sides` name the two values of a pair."""
        self._seeds = seeds
        self._sides = sides
        self._questions: dict[str, Question] = {}
        self._cells: dict[str, dict[str, Sequence[str]]] = {}
        self._pairs: list[list[str]] = []

    def ask(
        self,
        table: str,
        name: str,
        question: Question,
        cells: Sequence[str],
        *values: Floats,
        seeds: Sequence[int] | None = None,
    ) -> None:
        """Add an outcome.

        Args:
            table: The table that it is a row of.
            name: Its name.
            question: What is judged.
            cells: Its cells in that table, before those of the verdict.
            values: The values of the two sides [seeds].
            seeds: Their seeds, if not those of the family.
        """
        self._questions[name] = question
        self._cells.setdefault(table, {})[name] = cells
        for seed, *pair in zip(self._seeds if seeds is None else seeds, *values, strict=True):
            self._pairs.append([name, str(seed), *(f"{value:.9g}" if math.isfinite(value) else "" for value in pair)])

    def tables(self, headers: Mapping[str, Sequence[str]], primary: str | None, confidence: float) -> dict[str, Table]:
        """Judge all outcomes together.

        Args:
            headers: The heads of each table's cells.
            primary: The outcome that was named in advance, if any.
            confidence: As in `judge`.

        Returns:
            The tables with verdicts, and `pairs`: both values of every outcome and seed, with nine digits.

        Raises:
            UserError: No outcome has the name of the primary one.
        """
        judgements = judge(self._questions, primary, confidence)
        tables: dict[str, Table] = {
            table: (
                [*header, *JUDGED],
                [
                    [*cells, *judged(self._questions[name], judgements[name])]
                    for name, cells in self._cells[table].items()
                ],
            )
            for table, header in headers.items()
        }
        return tables | {PAIRS: (["outcome", "seed", *self._sides], self._pairs)}
