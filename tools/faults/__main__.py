"""The command line of `make faults`."""

import itertools
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Never

import click
from tqdm import tqdm

from pipeline.files import write_atomic
from tools import sandbox
from tools.faults import kills, outages
from tools.faults.kills import Bench, Fault

REPORT = sandbox.ROOT / "results" / "faults.md"


@click.command()
@click.option("--kills", "killed", default=200, show_default=True, help="Commands to kill.")
@click.option("--outages", "gone", default=12, show_default=True, help="Commands whose tracking server goes away.")
@click.option("--seed", default=0, show_default=True, help="Other seeds choose other moments.")
@click.option("--jobs", default=2, show_default=True, help="Commands at once.")
def main(killed: int, gone: int, seed: int, jobs: int) -> None:
    """Break things for real in throw-away projects, and see whether all is as if nothing had been.

    Prints a table, and writes it to results/faults.md. Ends with 1 if anything was lost; then the projects stay.

    \b
    python -m tools.faults
    python -m tools.faults --kills 20 --outages 0 --seed 7
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-")).resolve()
    bench = Bench(folder)
    quick = [command for command in kills.COMMANDS if command not in kills.SLOW]
    pairs = list(itertools.product([*kills.COMMANDS, *quick], kills.SIGNALS))
    chosen = [(*pairs[at % len(pairs)], seed * 1_000_000 + at) for at in range(killed)]
    with tqdm(total=killed + gone, unit="fault", disable=None) as bar:
        found = _all(bar, jobs, lambda one: bench.kill(*one), chosen)
        if gone:
            with outages.server(folder / "server") as port:
                proxy = outages.Proxy(port)
                turns = [(outages.KINDS[at % len(outages.KINDS)], seed * 1_000_000 + at) for at in range(gone)]
                found += _all(bar, 1, lambda one: outages.outage(bench, folder / "server", proxy, *one), turns)
    table = _table(found)
    print(table)
    write_atomic(REPORT, f"# Faults on purpose\n\nWritten by `make faults`; `tools/faults` says how.\n\n{table}")
    for line in itertools.chain.from_iterable(fault.problems for fault in found):
        print(line, file=sys.stderr)
    sys.exit(any(fault.problems for fault in found))


def _all(bar: "tqdm[Never]", jobs: int, work: Callable[[Any], Fault], given: Iterable[Any]) -> list[Fault]:
    found = []
    with ThreadPoolExecutor(jobs) as pool:
        for fault in pool.map(work, given):
            found.append(fault)
            bar.update()
    return found


def _table(faults: list[Fault]) -> str:
    """Return how many of each kind there were, as Markdown."""
    injected = Counter(fault.kind for fault in faults)
    lost = Counter(fault.kind for fault in faults if fault.problems)
    counts = [(kind, injected[kind], lost[kind]) for kind in injected]
    counts.append(("all", injected.total(), lost.total()))
    head = ["| fault | injected | recovered | lost |", "| --- | --- | --- | --- |"]
    rows = [f"| {kind} | {count} | {count - gone} | {gone} |" for kind, count, gone in counts]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    main()
