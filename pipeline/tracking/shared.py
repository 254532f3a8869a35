"""What several runs write in a store: their experiment's tags, data sets, registered models.

Where two processes make the same row at the same time, the database refuses the later one; MLflow passes that on. It
also refuses to change what somebody has deleted meanwhile.
"""

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mlflow.exceptions import MlflowException

TRIES = 5  # each fails only if yet another process has made or deleted one of the rows meanwhile
_CHANGED = re.compile(  # a server passes on only the text
    r"IntegrityError|UniqueViolation|Model Version creation error|(Model Version|Registered Model) .*not found"
)

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def shared(write: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Let a function that looks for rows before it makes them look again if somebody has just made or deleted them."""

    @functools.wraps(write)
    def again(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        for _ in range(TRIES - 1):
            try:
                return write(*args, **kwargs)
            except MlflowException as error:
                if not _CHANGED.search(str(error)):
                    raise
        return write(*args, **kwargs)

    return again
