"""The state of an unfinished training in a file, so that a killed training continues where it stopped."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.files import write_atomic

SECONDS = 10.0  # between two writes, so that short trainings write nothing


class Checkpoint:
    """The file of one training, written at most once in `SECONDS`.

    Attributes:
        path: The file, which need not exist.
        written: When it was last written or, at first, when this object was made: seconds of the monotonic clock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = time.monotonic()

    def load(self) -> list[dict[str, Tensor]]:
        """Return the last saved states of the parts, finished ones first; none if the file is missing or damaged."""
        parts: dict[int, dict[str, Tensor]] = {}
        try:
            for key, tensor in safetensors.torch.load_file(self.path).items():
                number, _, name = key.partition("/")
                parts.setdefault(int(number), {})[name] = tensor
        except (OSError, safetensors.SafetensorError):
            return []
        return [parts[number] for number in sorted(parts)]

    def is_due(self) -> bool:
        """Return whether the last write is at least `SECONDS` ago."""
        return time.monotonic() - self.written >= SECONDS

    def save(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        """Replace the saved states by those of `parts`: the finished ones, then the one in training.

        Where they cannot be written, say so once, and train on without.
        """
        tensors = {
            f"{number}/{name}": tensor.contiguous()
            for number, part in enumerate(parts)
            for name, tensor in part.items()
        }
        try:
            write_atomic(self.path, safetensors.torch.save(tensors))
        except UserError as error:
            print(f"{error}; a training that is killed will start over", file=sys.stderr)
            self.written = math.inf
        else:
            self.written = time.monotonic()

    def remove(self) -> None:
        """Delete the file, if any, once the results of the training are stored."""
        self.path.unlink(missing_ok=True)
