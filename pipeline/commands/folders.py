"""Folders that one command writes and another reads, by hand or at DVC's call: one command at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.tracking.process import exclusive

WAIT = 60.0  # seconds for another command to end


@contextlib.contextmanager
def hold(*folders: Path) -> Iterator[None]:
    """Keep other commands from writing folders while this one reads or writes them, until what it records is whole.

    Commands that hold several name them in the order of the stages, so none waits for another that waits for it.

    Raises:
        TimeoutError: Another command still holds one of them after `WAIT` seconds.
    """
    with contextlib.ExitStack() as held:
        for folder in folders:
            held.enter_context(exclusive(folder, WAIT, f"{folder}: another process writes it"))
        yield
