"""What happens around every call that logs a part of a run: it is noted, and failures are kept or raised."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec

from .errors import TrackingError

if TYPE_CHECKING:
    from .runs import Run

Given = ParamSpec("Given")


class Call(NamedTuple):
    """One call of a `log_` or `set_` method of `Run`."""

    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def logs(
    what: str,
) -> "Callable[[Callable[Concatenate[Run, Given], None]], Callable[Concatenate[Run, Given], None]]":
    """Let a method of `Run` log a part of the record, which is left out, with a line, if the store refuses it.

    If the store fails, it raises nothing but TrackingError; in a run with a journal, not even that.
    """

    def decorate(method: "Callable[Concatenate[Run, Given], None]") -> "Callable[Concatenate[Run, Given], None]":
        @functools.wraps(method)
        def log(run: "Run", /, *args: Given.args, **kwargs: Given.kwargs) -> None:
            if run.journal is not None:
                run.journal.append(Call(method.__name__, args, kwargs))
            if run.outage:
                return
            try:
                with run.part(what):
                    method(run, *args, **kwargs)
            except TrackingError as error:
                if run.journal is None:
                    raise
                run.outage = error

        return log

    return decorate
