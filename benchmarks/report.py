"""The report as Markdown: the bars, and what was measured."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.machine import cores
from benchmarks.rounds import Seconds
from benchmarks.settings import LARGE_BATCH, SMALL_BATCH
from pipeline.analysis.tables import format_number, markdown_table
from pipeline.params import VARIANTS

WHOLE, SWEEPS = "the whole project", "sweeps"
GREATEST_MEMORY = 1.5e9  # bytes, of every stage

HEADINGS = {
    "lab": "the lab as written",
    "sklearn": "scikit-learn",
    "eager": "lean PyTorch",
    "jax": "JAX",
    "one": "one worker",
    "all": "all workers",
    "medium": "all workers, medium",
    "products": "bare products",
    "busy": "all workers, one core busy",
}
LABELS = {
    WHOLE: {
        "training": "the lab: one network, 5 epochs, validated after each",
        "repro": "`dvc repro --force`: both variants, ten seeds each, every stage",
        "busy": "the same while another process keeps a core busy",
        "unchanged": "`dvc repro`, nothing changed",
        "help": "`python -m pipeline --help`",
    },
    SWEEPS: {
        "sweep_1": "a sweep over learning rates by one worker, a model-epoch",
        "sweep": "by as many workers as cores, a model-epoch",
        "shift": "studies/internal_covariate_shift with its probe, a model-epoch",
        "shift_unprobed": "the same without its probe",
    },
}


@dataclass(frozen=True)
class Bar:
    """A limit of the ratio of two measurements that took turns or, without `below`, of one measurement's seconds."""

    what: str
    row: str
    above: str
    below: str | None
    limit: float
    least: bool = False

    def values(self, measured: Mapping[str, Seconds]) -> list[float]:
        """Return the ratios, round by round, or the seconds; none if they were not measured."""
        row = measured.get(self.row, {})
        values = row.get(self.above, [])
        below = row.get(self.below, []) if self.below else [1.0] * len(values)
        return [value / divisor for value, divisor in zip(values, below, strict=False)]


def row_of(batch: int, variant: str) -> str:
    """Return the name of the row of a batch size and a variant."""
    return f"batches of {batch}, {variant}"


def bars() -> list[Bar]:
    """Return the bars: those of one population for each of its rows."""
    force = "`dvc repro --force`, a core busy"
    listed = [
        Bar("`dvc repro --force` / one training of the lab", WHOLE, "repro", "training", 2.0),
        Bar(f"{force} / idle", WHOLE, "busy", "repro", 1.4),
        Bar("`dvc repro`, nothing changed: seconds", WHOLE, "unchanged", None, 1.2),
        Bar("`python -m pipeline --help`: seconds", WHOLE, "help", None, 0.3),
        Bar(
            "a sweep: all workers / one, model-epochs per second",
            SWEEPS,
            "sweep_1",
            "sweep",
            0.925 * cores(),
            least=True,
        ),
        Bar("internal_covariate_shift: seconds a model-epoch", SWEEPS, "shift", None, 0.24),
    ]
    for batch, loss in ((LARGE_BATCH, 1.6), (SMALL_BATCH, 2.0)):
        for row in (row_of(batch, variant) for variant in VARIANTS):
            listed += [
                Bar(f"{row}: JAX / all workers", row, "jax", "all", 1.3, least=True),
                Bar(f"{row}: one worker / bare products", row, "one", "products", loss),
                Bar(f"{row}: a core busy / idle", row, "busy", "all", 2.2),
            ]
    return listed


def markdown(machine: str, measured: Mapping[str, Seconds], memory: Mapping[str, int]) -> str:
    """Return the report on seconds by row and by what took turns, and peak bytes by stage."""
    notes = [f"{machine}.", "Made by `make bench`; [docs/performance.md](../docs/performance.md) explains it."]
    lines = ["# Benchmark", "", *notes, "", *_bars(measured), "", *_epochs(measured)]
    for name in (WHOLE, SWEEPS):
        if name in measured:
            rows = [[LABELS[name][what], _spread(values, 2)] for what, values in measured[name].items()]
            lines += ["", f"## {name[0].upper()}{name[1:]}", "", *markdown_table(["what", "seconds"], rows)]
    if memory:
        limit = GREATEST_MEMORY / 1e9
        rows = [[stage, format_number(peak / 1e9, 2), _met(peak <= GREATEST_MEMORY)] for stage, peak in memory.items()]
        lines += [
            "",
            "## Peak memory",
            "",
            "In GB (10^9 bytes), of all processes of a stage together; shared pages count once.",
            "",
        ]
        lines += markdown_table(["stage", "peak", f"bar: at most {limit:g}"], rows)
    return "\n".join(lines) + "\n"


def _bars(measured: Mapping[str, Seconds]) -> list[str]:
    rows = []
    for bar in bars():
        if values := bar.values(measured):
            median = statistics.median(values)
            met = median >= bar.limit if bar.least else median <= bar.limit
            limit = f"at {'least' if bar.least else 'most'} {format_number(bar.limit, 2)}"
            rows.append([bar.what, limit, _spread(values, 2), _met(met)])
    return ["## Bars", "", *markdown_table(["what", "bar", "measured", ""], rows)]


def _epochs(measured: Mapping[str, Seconds]) -> list[str]:
    rows = []
    for name in (row_of(batch, variant) for batch in (LARGE_BATCH, SMALL_BATCH) for variant in VARIANTS):
        if row := measured.get(name):
            rows.append([name, *(_spread(row[kind], 3) if kind in row else "–" for kind in HEADINGS)])
    rounds = len(next(iter(measured.values()))["all"])
    missing = ["", "JAX is not installed here: `uv pip install -r requirements-bench.txt`."]
    return [
        "## Seconds per model-epoch",
        "",
        f"Training alone, {rounds} rounds in which all took turns: median (least to greatest).",
        "",
        *markdown_table(["", *HEADINGS.values()], rows),
        *([] if any("jax" in row for row in measured.values()) else missing),
    ]


def _met(good: bool) -> str:
    return "met" if good else "not met"


def _spread(values: Sequence[float], digits: int) -> str:
    median, least, greatest = (format_number(of(values), digits) for of in (statistics.median, min, max))
    return median if least == greatest else f"{median} ({least} to {greatest})"
