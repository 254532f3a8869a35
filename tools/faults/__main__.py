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

from pipeline.analysis.tables import markdown_table
from pipeline.files import write_atomic
from tools import sandbox
from tools.faults import kills, outages
from tools.faults.kills import Bench, Fault

REPORT = sandbox.ROOT / "results" / "faults.md"


@click.command()
@click.option("--kills", "killed", default=200, show_default=True, help="Commands to kill.")
@click.option("--outages", "gone", default=12, show_default=True, help="Commands whose tracking server goes away.")
@click.option("--seed", default=0, show_default=True, help="Chooses the moments of the faults.")
@click.option("--jobs", default=2, show_default=True, help="Commands run at the same time.")
def main(killed: int, gone: int, seed: int, jobs: int) -> None:
    """Break commands on purpose in throw-away projects, and check that nothing is lost.

    Prints a table and writes it to results/faults.md. Exits with 1 and keeps the projects if anything was lost.

    \b
    python -m tools.faults
    python -m tools.faults --kills 20 --outages 0 --seed 7
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-")).resolve()
    bench = Bench(folder)
    quick = [command for command in kills.COMMANDS if command not in kills.SLOW]
    pairs = list(itertools.product([*kills.COMMANDS, *quick], kills.SIGNALS))
    pairs += 3 * [("train with workers", kills.A_WORKER)]
    chosen = [(*pairs[at % len(pairs)], seed * 1_000_000 + at) for at in range(killed)]
    with tqdm(total=killed + gone, unit="fault", disable=None) as bar:
        faults = _inject(bar, jobs, lambda case: bench.kill(*case), chosen)
        if gone:
            with outages.server(folder / "server") as port:
                proxy = outages.Proxy(port)
                turns = [(outages.KINDS[at % len(outages.KINDS)], seed * 1_000_000 + at) for at in range(gone)]
                faults += _inject(bar, 1, lambda case: outages.outage(bench, folder / "server", proxy, *case), turns)
    table = _table(faults)
    print(table)
    write_atomic(REPORT, f"# Faults on purpose\n\nWritten by `make faults`; `tools/faults` says how.\n\n{table}")
    for line in itertools.chain.from_iterable(fault.problems for fault in faults):
        print(line, file=sys.stderr)
    sys.exit(any(fault.problems for fault in faults))


def _inject(bar: "tqdm[Never]", jobs: int, inject: Callable[[Any], Fault], cases: Iterable[Any]) -> list[Fault]:
    faults = []
    with ThreadPoolExecutor(jobs) as pool:
        for fault in pool.map(inject, cases):
            faults.append(fault)
            bar.update()
    return faults


def _table(faults: list[Fault]) -> str:
    """Return how many faults of each kind were injected, recovered from and lost, as Markdown."""
    injected = Counter(fault.kind for fault in faults)
    lost = Counter(fault.kind for fault in faults if fault.problems)
    counts = [*((kind, injected[kind], lost[kind]) for kind in injected), ("all", injected.total(), lost.total())]
    rows = [[kind, str(count), str(count - losses), str(losses)] for kind, count, losses in counts]
    return "\n".join(markdown_table(["fault", "injected", "recovered", "lost"], rows)) + "\n"


if __name__ == "__main__":
    main()
