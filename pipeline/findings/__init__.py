"""What studies found beyond the table of their points: a module each, whose `find` reads the outcomes."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.sweep import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Findings:
    """Lines of Markdown; figures and tables (header and rows) by the name of their file."""

    words: list[str]
    figures: dict[str, "Figure"]
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[str]]]] = field(default_factory=dict)


Find = Callable[[Sequence[Result], Params], Findings]


def named(name: str, every: int) -> Find:
    """Return the function that says what a study found that measured every so many iterations (0: never).

    Raises:
        UserError: there is none of this name.
    """
    known = [module.name for module in pkgutil.iter_modules(__path__)]
    if name not in known:
        raise UserError(f"findings = {name}: there are none; choose from {', '.join(known)}")
    module = importlib.import_module(f"{__name__}.{name}")
    return lambda results, params: module.find(results, params, every)
