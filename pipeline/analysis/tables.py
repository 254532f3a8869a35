"""Tables in Markdown, and the numbers and intervals in them: the only module that formats either."""

import math
from collections.abc import Sequence

from pipeline.analysis.statistics import Interval

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # header and rows


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; every row has as many cells as the header."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def format_number(value: float, digits: int = 4, *, sign: str = "", missing: str = "") -> str:
    """Format a number with a fixed count of decimals.

    Args:
        value: The number.
        digits: How many decimals it gets.
        sign: `+` to write the sign of positive numbers too.
        missing: The text for a value that is not finite.
    """
    return f"{value:{sign}.{digits}f}" if math.isfinite(value) else missing


def format_interval(interval: Interval, digits: int = 4, *, sign: str = "", missing: str = "") -> str:
    """Format a value with its interval, such as `0.5000 [0.4000, 0.6000]`, or alone if it has no interval.

    The arguments are those of `format_number`.
    """
    value, low, high = (
        format_number(number, digits, sign=sign, missing=missing)
        for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}]" if math.isfinite(interval.low) else value
