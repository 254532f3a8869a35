"""The state of a training in a file, so that a killed training continues where it stopped."""

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.files import write_atomic

SECONDS = 10.0  # between two writes while a part is trained


class Checkpoint:
    """The file of one part's training.

    Attributes:
        path: The file, which need not exist.
        written: When it was last written or, at first, when this object was made: seconds of the monotonic clock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = time.monotonic()

    def load(self) -> dict[str, Tensor] | None:
        """Return the last saved state; None if the file is missing or damaged."""
        try:
            state: dict[str, Tensor] = safetensors.torch.load_file(self.path)
        except (OSError, safetensors.SafetensorError):
            return None
        return state

    def is_due(self) -> bool:
        """Return whether the last write is at least `SECONDS` ago."""
        return time.monotonic() - self.written >= SECONDS

    def save(self, state: Mapping[str, Tensor], last: bool = False) -> None:
        """Replace the saved state. Where one that is not the last cannot be written, say so once, and do without."""
        try:
            content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()})
            write_atomic(self.path, content, shared=True)
        except UserError as error:
            if not last:
                print(f"{error}; a training that is killed will start over", file=sys.stderr)
            self.written = math.inf
        else:
            self.written = time.monotonic()
