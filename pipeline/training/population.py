"""A population: networks that differ only in their seeds, described in plain values."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.data.dataset import CLASSES, PIXELS
from pipeline.network.perceptron import Perceptron
from pipeline.params import Model, Train, Variant

PACKAGES = ("data", "network", "training")  # their code determines the results of a training

# On the CPU, a part's members times the images per batch. Above this number the batches no longer fit into the caches,
# and members are faster one after another; below it, one matrix product for all members is faster (`make bench`).
ROWS_AT_ONCE = 4000
MEMBERS_AT_ONCE = 16  # bounds memory if batches are small

# On CUDA only memory limits the size of a part.
SHARE_OF_MEMORY = 0.5  # of the device's memory that a part may take
VALUES_OF_A_UNIT = 10  # the most values that exist for a hidden unit and an image while gradients are computed


@dataclass(frozen=True)
class Population:
    """A description, in plain values, of networks to train: one for each seed."""

    variant: Variant
    model: Model
    train: Train
    seeds: tuple[int, ...]

    def network(self) -> Perceptron:
        """Build the untrained members, on the CPU."""
        return Perceptron(self.model, self.variant, self.seeds)

    def parts(self, memory: int | None = None) -> Iterator["Population"]:
        """Split the population into parts that are small enough to be trained at once.

        Args:
            memory: The bytes of the CUDA device's memory, or None for the CPU.

        Yields:
            Populations of at least one seed, in order.
        """
        if memory is None:
            size = min(MEMBERS_AT_ONCE, ROWS_AT_ONCE // self.train.batch_size)
        else:
            size = int(SHARE_OF_MEMORY * memory) // self.bytes_per_member()
        size = max(1, size)
        for start in range(0, len(self.seeds), size):
            yield replace(self, seeds=self.seeds[start : start + size])

    def bytes_per_member(self) -> int:
        """Return an upper bound of the memory that a member takes while it is trained and measured."""
        network = replace(self, seeds=self.seeds[:1]).network()
        weights = sum(weight.numel() for weight in network.parameters())
        units = sum(tensor.units for tensor in network.hidden_tensors() if tensor.side == "output")
        rows = max(self.train.batch_size, self.train.validation_batch_size)
        values = rows * (2 * PIXELS + VALUES_OF_A_UNIT * (units + CLASSES))
        return 4 * (4 * weights + values)  # float32; weights, their gradients and Adam's two moments

    def digest(self, holdout: int, images: str) -> str:
        """Return a SHA-256 of everything that determines the results of the training.

        Args:
            holdout: How many training images are held out.
            images: The digest of the image files.

        Returns:
            The hexadecimal digest of the settings, the seeds, the images and the code that trains.
        """
        package = Path(__file__).parents[1]
        code = sorted(path for name in PACKAGES for path in (package / name).glob("*.py"))
        determinants = [
            self.variant,
            self.model.model_dump(mode="json"),
            self.train.model_dump(mode="json"),
            self.seeds,
            holdout,
            images,
            [hashlib.sha256(path.read_bytes()).hexdigest() for path in code],
        ]
        return hashlib.sha256(json.dumps(determinants, sort_keys=True).encode()).hexdigest()
