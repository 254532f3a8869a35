"""What studies found beyond the table of their points: a module for each probe, whose `find` reads its outcomes."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.params import Params
from pipeline.probes import Probe
from pipeline.sweep import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Findings:
    """Lines of Markdown; figures and tables (header and rows) by the name of their file."""

    words: list[str]
    figures: dict[str, "Figure"]
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[str]]]] = field(default_factory=dict)


def find(probe: Probe, results: Sequence[Result], params: Params) -> Findings:
    """Return what a probe's outcomes say."""
    module = importlib.import_module(f"{__name__}.{probe.name}")
    found: Findings = module.find(results, params, probe.every)
    return found
