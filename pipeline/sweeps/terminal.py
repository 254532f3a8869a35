"""What a sweep says in a terminal: what it trains, and what was found."""

import textwrap
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.tables import align_columns
from pipeline.analysis.wording import count_of, duration, join_words, key_words, seed_words, setting
from pipeline.params import Params
from pipeline.sweeps.grid import Point
from pipeline.sweeps.plan import Task
from pipeline.sweeps.report import compact_table
from pipeline.sweeps.result import Result
from pipeline.training.population import Population

WIDTH = 100  # columns
SHORT = {  # at the head of a column
    VARIANT_NAMES["batchnorm"]: "BN",
    VARIANT_NAMES["layernorm"]: "LN",
    VARIANT_NAMES["groupnorm"]: "GN",
    VARIANT_NAMES["weightnorm"]: "WN",
}
MOST_ROWS = 30  # of a table
MOST_VALUES = 6  # of a key, which are all named


def list_populations(tasks: Iterable[Task]) -> list[Population]:
    """Return the populations of some tasks: equal ones are trained once."""
    return list({task.digest: task.population for task in tasks}.values())


def networks(populations: Iterable[Population]) -> str:
    """Say how many networks some populations have."""
    return count_of(sum(len(population.seeds) for population in populations), "network")


def plan_words(
    name: str,
    points: Sequence[Point],
    tasks: Sequence[Task],
    rests: Collection[Population],
    workers: int,
    seconds: float | None = None,
) -> str:
    """Say what a sweep trains, and how long that takes.

    Args:
        name: The sweep's name.
        points: The points so far.
        tasks: The tasks so far.
        rests: What is still to train of the populations that are not complete.
        workers: How many parts are trained at the same time.
        seconds: About how long it takes, if that was estimated.
    """
    params, varied = points[0].params, points[0].values
    populations = list_populations(tasks)
    left = f"{len(rests)} still to train" + (f" ({networks(rests)})" if rests else "")
    by = f" by {workers} workers" if rests and workers > 1 else ""
    about = "" if seconds is None else f", about {duration(seconds)}"
    spans = [f"{key_words(key)} {_span([point.values[key] for point in points])}" for key in varied]
    variants = join_words([VARIANT_NAMES[variant] for variant in dict.fromkeys(task.variant for task in tasks)])
    what = f"{setting(params, varied)}; {variants}; {seed_words(params.train.seeds)}."
    return "\n".join(
        [
            f"{name}: {count_of(len(points), 'point')}, {networks(populations)} in "
            f"{count_of(len(populations), 'population')}, {left}{by}{about}",
            *_wrap(f"Varied: {'; '.join(spans)}."),
            *_wrap(what),
        ]
    )


def result_words(results: Sequence[Result], params: Params, answer: str, folder: Path) -> str:
    """Say what was found, in lines of at most 100 columns: a table, the answer without its tables, and where all is.

    A table with so many keys that it is wider is left whole.

    Args:
        results: All points.
        params: The parameters that all points share.
        answer: The answer in Markdown.
        folder: Where the files are.
    """
    header, rows = compact_table(results, params.evaluate)
    shortened = {name: short for name, short in SHORT.items() if name in header}
    columns = [": ".join(SHORT.get(part, part) for part in name.split(": ")) for name in header]
    table = align_columns(columns, rows[:MOST_ROWS])
    meant = "".join(f"{short}: {name}. " for name, short in shortened.items())
    legend = f"{meant}Medians over seeds; differences of means, with intervals."
    more = [f"({MOST_ROWS} of {len(rows)} points)"] if len(rows) > MOST_ROWS else []
    words = [line for block in answer.split("\n") if not block.startswith("|") for line in _wrap(block) or [""]]
    lines = [*(line.rstrip() for line in table), *more, legend, "", *words]
    spoken = [line for at, line in enumerate(lines) if line or (at and lines[at - 1])]  # no two empty lines
    return "\n".join([*spoken, f"All numbers and figures: {folder}"])


def _span(texts: Sequence[str]) -> str:
    """Return a key's values in short."""
    values = [*dict.fromkeys(texts)]
    if len(values) <= MOST_VALUES:
        return ", ".join(values)
    return f"{values[0]}, {values[1]}, … {values[-1]} ({len(values)} values)"


def _wrap(text: str) -> list[str]:
    indent = "  " if text.startswith("- ") else ""
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
