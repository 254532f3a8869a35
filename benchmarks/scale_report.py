"""The report on sweeps with more and more workers, and what follows for many nodes, as Markdown."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.analysis.tables import format_number, markdown_table

POPULATIONS_PER_WORKER = 4

# Assumptions beyond the measurements.
NODES = (10, 100, 1000)
POPULATIONS = 10_100  # in the sweep, such as both variants at 101 learning rates and 50 batch sizes
BANDWIDTH = 1.25e9  # bytes per second from the driver's node to all other nodes together: 10 Gbit/s


@dataclass(frozen=True)
class Measured:
    """The measurements of one machine.

    Attributes:
        alone: Model-epochs per second of the local sweep with one thread.
        rates: Model-epochs per second by number of workers, each with one thread.
        epochs: Model-epochs of a population.
        size: Bytes of the images.
        put: Seconds until the driver's node holds the images.
        fetch: Seconds until another raylet on this machine holds them, too.
        log: Seconds in which the driver logs a population.
    """

    alone: float
    rates: Mapping[int, float]
    epochs: int
    size: int
    put: float
    fetch: float
    log: float

    def seconds(self) -> float:
        """Return the seconds that a population takes while every worker of this machine is busy."""
        workers = max(self.rates)
        return self.epochs * workers / self.rates[workers]


def project_sweep(measured: Measured, nodes: int) -> tuple[dict[str, float], float]:
    """Return the seconds of each part of a sweep of `POPULATIONS` on some nodes, and its model-epochs per second."""
    workers = nodes * max(measured.rates)
    training = POPULATIONS / workers * measured.seconds()
    parts = {
        "broadcast": measured.size * nodes / BANDWIDTH,
        "training": training,
        "stragglers": math.ceil(POPULATIONS / workers) * measured.seconds() - training,
        "logging": POPULATIONS * measured.log,  # during training
    }
    total = parts["broadcast"] + max(training + parts["stragglers"], parts["logging"])
    return parts, POPULATIONS * measured.epochs / total


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
        "all populations take equally long, so that stragglers are what the last wave adds; the driver logs one",
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
        ["a population logged into MLflow's embedded store, with its seeds", f"{measured.log:.2f} s"],
    ]
    return [
        *markdown_table(["", "model-epochs per second", "of as many times one worker"], rows),
        "",
        *markdown_table(["what", "measured"], units),
    ]


def _projections(measured: Measured) -> list[str]:
    rows = []
    for nodes in NODES:
        parts, rate = project_sweep(measured, nodes)
        seconds = [format_number(value, 0) for value in (*parts.values(), rate)]
        longest = max(parts, key=lambda name: parts[name])
        rows.append([str(nodes), str(nodes * max(measured.rates)), *seconds, longest])
    return markdown_table(["nodes", "workers", *parts, "model-epochs per second", "longest"], rows)
