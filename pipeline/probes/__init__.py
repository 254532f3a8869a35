"""What studies measure beyond loss and accuracy: a module each, whose `prepare` returns the measurement."""

import importlib
import pkgutil
from dataclasses import dataclass

from pipeline.data import Split
from pipeline.errors import UserError
from pipeline.fit import Population, Watch


@dataclass(frozen=True)
class Probe:
    """Which module measures, and every how many iterations: plain values."""

    name: str
    every: int

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            UserError: there is no such probe, or it is asked for every 0 iterations or so.
        """
        known = [module.name for module in pkgutil.iter_modules(__path__)]
        if self.name not in known:
            raise UserError(f"probe.name = {self.name}: there is none; choose from {', '.join(known)}")
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise UserError(f"probe.every = {self.every}: should be a number of iterations")


def prepare(probe: Probe, population: Population, split: Split) -> Watch:
    """Return what `fit` needs to measure by a probe while it trains a population."""
    module = importlib.import_module(f"{__name__}.{probe.name}")
    return Watch(probe.every, module.prepare(population, split))
