"""The report as Markdown, with the bars beside the measurements."""

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
from pipeline.analysis.tables import format_number, markdown_table
from pipeline.params import Variant


@dataclass(frozen=True)
class Whole:
    """The whole project against the lab.

    Attributes:
        variant: The network that the lab trains.
        seeds: How many networks of each variant this project trains.
        epochs: How long each is trained.
        lab_seconds: One training in the lab, validated after each epoch.
        repro_seconds: `dvc repro --force`: both variants, every seed, all stages.
        memory: Peak bytes by stage.
        study_seconds: `dvc repro` of a study, from nothing to its figures.
        study_memory: Its peak bytes.
        logging_seconds: One point of a sweep with every seed.
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
    """Return the report; without `whole`, it covers the epochs alone."""
    lines = ["# Benchmark", "", f"{machine}.", "Made by `make bench`."]
    lines += ["", *_epochs(comparisons), "", *_bars(comparisons)]
    if whole:
        lines += ["", *_whole(whole), "", *_sweeps(whole), "", *_memory(whole)]
    return "\n".join(lines) + "\n"


def _epochs(comparisons: Sequence[Comparison]) -> list[str]:
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
    return [
        "## Seconds per epoch of one network",
        "",
        "(a) The lab as written, training only. (b) This project's loop, all seeds. (c) The network's matrix products",
        "and nothing else. Median (least to greatest) over rounds in which the three took turns, ratios round by "
        "round.",
        f"Rounds: {rounds}.",
        "",
        *markdown_table(header, rows),
    ]


def _bars(comparisons: Sequence[Comparison]) -> list[str]:
    rows = []
    for c in comparisons:
        gain, loss = c.gain().median, c.loss().median
        first = [str(c.batch), c.variant]
        for user, bar in LEAST_GAINS[c.batch].items():
            rows.append([*first, f"{user}: a / b at least {bar:g}", format_number(gain, 1), _met(gain >= bar)])
        for user, bar in GREATEST_LOSSES[c.batch].items():
            rows.append([*first, f"{user}: b / c at most {bar:g}", format_number(loss, 2), _met(loss <= bar)])
    return ["Ten members:", "", *markdown_table(["batch", "variant", "bar", "measured", ""], rows)]


def _whole(whole: Whole) -> list[str]:
    rows = [
        [
            f"the lab, {whole.variant}: one network, {whole.epochs} epochs, validated after each",
            format_number(whole.lab_seconds, 1),
        ],
        [
            f"`dvc repro --force`: 2 variants, {whole.seeds} seeds each, every stage",
            format_number(whole.repro_seconds, 1),
        ],
    ]
    verdict = _met(whole.repro_seconds <= whole.lab_seconds)
    return [
        "## The whole project",
        "",
        *markdown_table(["what", "seconds"], rows),
        "",
        f"Bar: all of this project takes no longer than one training of the lab: {verdict}.",
    ]


def _sweeps(whole: Whole) -> list[str]:
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
    return ["## Grids", "", *markdown_table(["what", "measured", "bar", ""], judged)]


def _memory(whole: Whole) -> list[str]:
    limit = GREATEST_MEMORY / 1e9
    rows = [
        [stage, format_number(peak / 1e9, 2), _met(peak <= GREATEST_MEMORY)] for stage, peak in whole.memory.items()
    ]
    return [
        "## Peak resident memory",
        "",
        "In GB (10^9 bytes), of a stage's process or its greatest child.",
        "",
        *markdown_table(["stage", "peak", f"bar: at most {limit:g}"], rows),
    ]


def _spread(values: Spread, digits: int) -> str:
    median, least, greatest = (format_number(value, digits) for value in (values.median, values.least, values.greatest))
    return median if values.least == values.greatest else f"{median} ({least} to {greatest})"


def _met(good: bool) -> str:
    return "met" if good else "not met"
