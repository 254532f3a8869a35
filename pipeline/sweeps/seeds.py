"""Seeds as text, in options and studies."""

import re

from pipeline.errors import UserError

MOST = 10_000  # seeds in one text
PART = re.compile(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?")


def parse_seeds(name: str, text: str) -> tuple[int, ...]:
    """Read seeds such as `100-129` or `[0, 1, 20-29]`, with or without brackets; a range includes both ends.

    Args:
        name: What the seeds are for, for error messages.
        text: The text.

    Raises:
        UserError: It is no list of seeds from 0 to 2 147 483 647, names a seed twice, or has more than 10,000.
    """
    seeds: list[int] = []
    bare = text.strip()
    for part in (bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare).split(","):
        match = PART.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < 2**31 or len(seeds) + last - first >= MOST:
            raise UserError(f"{name} = {text}: expected at most 10,000 seeds below 2147483648, such as 100-129 or 7,8")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"{name} = {text}: every seed may appear only once")
    return tuple(seeds)
