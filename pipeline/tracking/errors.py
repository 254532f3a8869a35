"""The exception that says why MLflow cannot be used, and how long a tracking server may take to answer."""

import contextlib
import os
from collections.abc import Iterator, Mapping

LONGEST = 1500  # characters

# Seconds for one request, retries, and the factor of the pauses between these; MLflow's own add up to minutes.
PATIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}  # two lines with links for every run that a server has
BRIEF = {
    **PATIENT,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "PGCONNECT_TIMEOUT": "5",  # PostgreSQL's own
}


class TrackingError(Exception):
    """MLflow's store cannot be used, or no longer. The text is one line, meant for the user.

    Attributes:
        refused: Whether the store has answered that it will never take this.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(" ".join(text.split())[:LONGEST])
        self.refused = refused


_left: dict[str, str] = {}  # variables that are still set, from a `with` that has ended


@contextlib.contextmanager
def variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment where neither the user nor an enclosing `with` has set them.

    They stay when the context ends, free for the next one. A name that comes or goes can move the whole environment in
    memory while another thread reads it, in C code that no lock of Python's holds back, and that kills the process; a
    new value of a known name moves nothing.
    """
    new = {name: value for name, value in wanted.items() if os.environ.get(name) in (None, _left.get(name))}
    for name in new:
        _left.pop(name, None)
    os.environ.update(new)
    try:
        yield
    finally:
        _left.update(new)
