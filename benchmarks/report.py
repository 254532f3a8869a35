"""The results as Markdown, with what was demanded beside what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.rounds import Comparison, Spread
from benchmarks.settings import (
    GREATEST_LOGGING_SECONDS,
    GREATEST_LOSSES,
    GREATEST_MEMORY,
    GREATEST_STUDY_MEMORY,
    GREATEST_STUDY_SECONDS,
    LEAST_GAINS,
    STUDY,
)
from pipeline.params import Variant


@dataclass(frozen=True)
class Whole:
    """The whole project against the lab: seconds, and peak bytes by stage.

    lab_seconds: one training of `variant` with its validation. repro_seconds: both variants, every seed, all stages.
    study_*: `dvc repro` of a study from start to figures. logging_seconds: of one point of a sweep with every seed.
    """

    variant: Variant
    seeds: int
    epochs: int
    lab_seconds: float
    repro_seconds: float
    memory: dict[str, int]
    study_seconds: float
    study_memory: int
    logging_seconds: float


def markdown(machine: str, comparisons: Sequence[Comparison], whole: Whole | None) -> str:
    """Return the whole report; without `whole`, of the epochs alone."""
    parts = [f"# Benchmark\n\n{machine}.\nMade by `make bench`.", _epochs(comparisons), _bars(comparisons)]
    if whole:
        parts += [_whole(whole), _sweeps(whole), _memory(whole)]
    return "\n\n".join(parts) + "\n"


def _epochs(comparisons: Sequence[Comparison]) -> str:
    rounds = "; ".join(f"{len(c.lab)} at batch {c.batch}, {c.variant}" for c in comparisons)
    rows = [
        [
            str(c.batch),
            c.variant,
            *(_spread(Spread.of(values), 3) for values in (c.lab, c.project, c.products)),
            _spread(c.gain(), 1),
            _spread(c.loss(), 2),
        ]
        for c in comparisons
    ]
    header = ["batch", "variant", "(a) the lab", "(b) this project", "(c) products alone", "a / b", "b / c"]
    return (
        "## Seconds per epoch of one network\n\n"
        "(a) The lab as written, training only. (b) This project's loop, all seeds. (c) The network's matrix products\n"
        "and nothing else. Median (least to greatest) over rounds in which the three took turns, ratios round by "
        f"round.\nRounds: {rounds}.\n\n" + table(header, rows)
    )


def _bars(comparisons: Sequence[Comparison]) -> str:
    rows = []
    for c in comparisons:
        gain, loss = c.gain().median, c.loss().median
        first = [str(c.batch), c.variant]
        for whose, bar in LEAST_GAINS[c.batch].items():
            rows.append([*first, f"{whose}: a / b at least {bar:g}", f"{gain:.1f}", _met(gain >= bar)])
        for whose, bar in GREATEST_LOSSES[c.batch].items():
            rows.append([*first, f"{whose}: b / c at most {bar:g}", f"{loss:.2f}", _met(loss <= bar)])
    return "Ten members:\n\n" + table(["batch", "variant", "bar", "measured", ""], rows)


def _whole(whole: Whole) -> str:
    rows = [
        [f"the lab, {whole.variant}: one network, {whole.epochs} epochs, validated after each", _s(whole.lab_seconds)],
        [f"`dvc repro --force`: 2 variants, {whole.seeds} seeds each, every stage", _s(whole.repro_seconds)],
    ]
    verdict = _met(whole.repro_seconds <= whole.lab_seconds)
    return (
        "## The whole project\n\n"
        + table(["what", "seconds"], rows)
        + f"\n\nBar: all of this project takes no longer than one training of the lab: {verdict}."
    )


def _sweeps(whole: Whole) -> str:
    seconds, memory, logging = whole.study_seconds, whole.study_memory, whole.logging_seconds
    rows = [
        [f"`dvc repro studies/{STUDY}/dvc.yaml`", f"{seconds:.0f} s", f"at most {GREATEST_STUDY_SECONDS:g} s"],
        ["its peak resident memory", f"{memory / 1e9:.2f} GB", f"at most {GREATEST_STUDY_MEMORY / 1e9:g} GB"],
        [f"logging one point of {whole.seeds} seeds", f"{logging:.2f} s", f"at most {GREATEST_LOGGING_SECONDS:g} s"],
    ]
    met = (
        seconds <= GREATEST_STUDY_SECONDS,
        memory <= GREATEST_STUDY_MEMORY,
        logging <= GREATEST_LOGGING_SECONDS,
    )
    judged = [[*row, _met(good)] for row, good in zip(rows, met, strict=True)]
    return "## Grids\n\n" + table(["what", "measured", "bar", ""], judged)


def _memory(whole: Whole) -> str:
    limit = GREATEST_MEMORY / 1e9
    rows = [[stage, f"{peak / 1e9:.2f}", _met(peak <= GREATEST_MEMORY)] for stage, peak in whole.memory.items()]
    title = "## Peak resident memory\n\nIn GB (10^9 bytes), of a stage's process or its greatest child.\n\n"
    return title + table(["stage", "peak", f"bar: at most {limit:g}"], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(values: Spread, digits: int) -> str:
    if values.least == values.greatest:
        return f"{values.median:.{digits}f}"
    return f"{values.median:.{digits}f} ({values.least:.{digits}f} to {values.greatest:.{digits}f})"


def _s(seconds: float) -> str:
    return f"{seconds:.1f}"


def _met(good: bool) -> str:
    return "met" if good else "not met"
