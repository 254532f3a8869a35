"""The report on sweeps with more and more workers, as Markdown."""

from benchmarks.projection import BANDWIDTH, NODES, POPULATIONS, Measured, project_sweep
from pipeline.analysis.tables import format_number, markdown_table

POPULATIONS_PER_WORKER = 4
COLUMNS = {  # headings, and attributes of a projection
    "broadcast": "broadcast",
    "training": "training",
    "stragglers": "waiting",
    "logging": "logging",
    "model-epochs per second": "rate",
}


def markdown(machine: str, measured: Measured) -> str:
    """Return the measurements, and the seconds computed from them, as a report."""
    lines = [
        "# Beyond one machine",
        "",
        f"{machine}.",
        "Made by `python -m benchmarks scale`.",
        "",
        "## Measured",
        "",
        "Whole sweeps at params.yaml's settings through `--ray`, one thread a worker, workers started",
        f"before the clock; {POPULATIONS_PER_WORKER} populations for each worker, of {measured.epochs} model-epochs.",
        "",
        *_measurements(measured),
        "",
        "## Computed",
        "",
        f"Seconds of a sweep of {POPULATIONS:,} populations on nodes like this machine. Assumed: the",
        f"data leave the driver's node once for every node, at {BANDWIDTH / 1e9:g} GB/s together, before training;",
        "all populations take equally long, so that stragglers are what the last wave adds; the driver logs one point",
        "after another while others train; nothing else is waited for.",
        "",
        *_projections(measured),
    ]
    return "\n".join(lines) + "\n"


def _measurements(measured: Measured) -> list[str]:
    rows = [["the local sweep, one thread", format_number(measured.alone, 1), ""]]
    for workers, rate in measured.rates.items():
        share = rate / (workers * measured.rates[1])
        rows.append([f"{workers} worker{'s' * (workers > 1)}", format_number(rate, 1), format_number(share, 2)])
    units = [
        ["a population, with every worker busy", f"{measured.seconds():.1f} s"],
        ["data", f"{measured.size / 1e6:.0f} MB"],
        ["data into the driver's object store", f"{measured.put:.2f} s"],
        ["data from there to another raylet on this machine, once", f"{measured.fetch:.2f} s"],
        ["a point logged into MLflow's embedded store, with its seeds", f"{measured.log:.2f} s"],
    ]
    return [
        *markdown_table(["", "model-epochs per second", "of as many times one worker"], rows),
        "",
        *markdown_table(["what", "measured"], units),
    ]


def _projections(measured: Measured) -> list[str]:
    projections = [project_sweep(measured, nodes) for nodes in NODES]
    header = ["nodes", "workers", *COLUMNS, "longest"]
    computed = [
        [
            str(projection.nodes),
            str(projection.nodes * max(measured.rates)),
            *(format_number(getattr(projection, part), 0) for part in COLUMNS.values()),
            projection.bottleneck(),
        ]
        for projection in projections
    ]
    return markdown_table(header, computed)
