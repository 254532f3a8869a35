"""A study's probe: what it measures within epochs, beyond loss and accuracy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from types import ModuleType
from typing import Any

from pipeline.data.dataset import Split
from pipeline.errors import UserError
from pipeline.training.measure import Probing
from pipeline.training.population import Population


@dataclass(frozen=True)
class Probe:
    """A study's `probe.py`, as plain values that can be sent to any worker.

    Attributes:
        file: The path of `probe.py`, for error messages.
        source: Its content.
        every: The number of iterations between two measurements or, for each interval, by its last iteration.
    """

    file: str
    source: str
    every: int | Mapping[int, int]

    def probing(self, population: Population, split: Split) -> Probing:
        """Return the measurement for `fit` to take while it trains `population`.

        Raises:
            UserError: The source is not valid Python, or defines no function `probe`.
        """
        iterations = population.train.epochs * -(-len(split.train) // population.train.batch_size)
        steps = frozenset(takewhile(lambda step: step <= iterations, self.steps()))
        return Probing(steps, load_function(self.file, self.source, "probe")(population, split))

    def steps(self) -> Iterator[int]:
        """Yield the numbers of iterations after which to measure: 0, then multiples of the interval that holds there.

        They end with the last interval; where `every` is one number, they do not end.
        """
        yield 0
        if isinstance(self.every, int):
            yield from count(self.every, self.every)
            return
        before = 0
        for last, interval in self.every.items():
            yield from range(before - before % interval + interval, last + 1, interval)
            before = last


def load_function(file: str, source: str, name: str) -> Any:
    """Return a function that a study's Python file defines; the arguments and errors are those of `load_functions`."""
    return load_functions(file, source, name)[0]


def load_functions(file: str, source: str, name: str, *optional: str) -> list[Any]:
    """Execute a study's Python file, which belongs to no package, and return some of its functions.

    Args:
        file: The path, for error messages.
        source: The content.
        name: The name of the first function.
        optional: The names of others; None stands for one that the file does not define itself, but at most imports.

    Raises:
        UserError: The source is not valid Python, or does not define the first function.
    """
    module = ModuleType(file)
    try:
        exec(compile(source, file, "exec"), vars(module))  # noqa: S102, a study's own code
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{file}: {error}") from None
    if not callable(getattr(module, name, None)):
        raise UserError(f"{file}: should define a function {name}()")
    own = {each: value for each, value in vars(module).items() if getattr(value, "__module__", None) == file}
    return [getattr(module, name), *(own.get(each) for each in optional)]
