"""A training of minutes goes on where it was killed: its state, kept in a file while it lasts."""

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
    """The file at `path`, due once in `SECONDS`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = time.monotonic()

    def read(self) -> list[dict[str, Tensor]]:
        """Return the states of the parts that were kept last; none if there is no file or a damaged one."""
        parts: dict[int, dict[str, Tensor]] = {}
        try:
            for name, tensor in safetensors.torch.load_file(self.path).items():
                number, _, rest = name.partition("/")
                parts.setdefault(int(number), {})[rest] = tensor
        except (OSError, safetensors.SafetensorError):
            return []
        return [parts[number] for number in sorted(parts)]

    def due(self) -> bool:
        """Return whether the last time is long enough ago."""
        return time.monotonic() - self.written >= SECONDS

    def write(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        """Keep the states of parts; where they cannot be written, say so once, and train on without."""
        named = {
            f"{number}/{name}": tensor.contiguous()
            for number, part in enumerate(parts)
            for name, tensor in part.items()
        }
        try:
            write_atomic(self.path, safetensors.torch.save(named))
        except UserError as error:
            print(f"{error}; a training that is killed will start over", file=sys.stderr)
            self.written = math.inf
        else:
            self.written = time.monotonic()

    def remove(self) -> None:
        """Forget it: the training is complete."""
        self.path.unlink(missing_ok=True)
