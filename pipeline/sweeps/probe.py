"""A study's probe: what it measures while networks train, beyond loss and accuracy."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pipeline.data.dataset import Split
from pipeline.errors import UserError
from pipeline.training.loop import Watch
from pipeline.training.population import Population


@dataclass(frozen=True)
class Probe:
    """A study's `probe.py` and the iterations between two measurements: plain values, which any worker can be sent."""

    file: str
    source: str
    every: int

    def watch(self, population: Population, split: Split) -> Watch:
        """Return what `fit` needs to measure while it trains a population."""
        return Watch(self.every, load_function(self.file, self.source, "probe")(population, split))


def load_function(file: str, source: str, name: str) -> Any:
    """Return a function of a study's Python file, which is no module of the package.

    Raises:
        UserError: the file is not Python or has no such function.
    """
    module = ModuleType(file)
    try:
        exec(compile(source, file, "exec"), vars(module))  # noqa: S102, a study's own code
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{file}: {error}") from None
    if not callable(function := getattr(module, name, None)):
        raise UserError(f"{file}: should define a function {name}()")
    return function
