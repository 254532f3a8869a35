"""What is trained: a population of networks, one for each seed, described in plain values."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from pipeline.data.dataset import CLASSES, PIXELS
from pipeline.network.perceptron import Perceptron
from pipeline.params import Model, Train, Variant

PACKAGES = ("data", "network", "training")  # whose change may change what a training gives

# On the processor: members computed together, times images per batch. Above this the batches no longer fit its
# caches and members are faster one after another; below it, one product for all members is (`make bench`).
ROWS_AT_ONCE = 4000
MEMBERS_AT_ONCE = 16  # bounds memory where batches are small

# On CUDA, where only memory bounds what is computed together: the share of the device's that a part may take, and
# how many values one hidden unit has for one image at most, while gradients are computed.
SHARE_OF_MEMORY = 0.5
VALUES_OF_A_UNIT = 10


@dataclass(frozen=True)
class Population:
    """A description, in plain values, of networks to be trained: one for each seed."""

    variant: Variant
    model: Model
    train: Train
    seeds: tuple[int, ...]

    def network(self) -> Perceptron:
        """Return the untrained members."""
        return Perceptron(self.model, self.variant == "batchnorm", self.seeds)

    def parts(self, memory: int | None = None) -> Iterator["Population"]:
        """Split into populations small enough to compute at once.

        `memory` is that of the device, in bytes, or None for the processor.
        """
        if memory is None:
            size = min(MEMBERS_AT_ONCE, ROWS_AT_ONCE // self.train.batch_size)
        else:
            size = int(SHARE_OF_MEMORY * memory) // self._bytes()
        size = max(1, size)
        for start in range(0, len(self.seeds), size):
            yield replace(self, seeds=self.seeds[start : start + size])

    def _bytes(self) -> int:
        """Return how much a member takes at most while it is trained and measured, with some to spare."""
        widths = [PIXELS, *self.model.hidden, CLASSES]
        weights = sum((inputs + 3) * outputs for inputs, outputs in pairwise(widths))
        rows = max(self.train.batch_size, self.train.validation_batch_size)
        values = rows * (2 * PIXELS + VALUES_OF_A_UNIT * sum(widths[1:]))
        return 4 * (4 * weights + values)  # float32; weights, their gradients and Adam's two moments

    def digest(self, holdout: int, images: str) -> str:
        """Return what tells trainings apart: settings, seeds, the digest of the images, and the code that trains."""
        package = Path(__file__).parents[1]
        code = sorted(path for name in PACKAGES for path in (package / name).glob("*.py"))
        described = [
            self.variant,
            self.model.model_dump(mode="json"),
            self.train.model_dump(mode="json"),
            self.seeds,
            holdout,
            images,
            [hashlib.sha256(path.read_bytes()).hexdigest() for path in code],
        ]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
