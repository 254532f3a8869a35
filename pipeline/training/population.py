"""A population: networks that differ only in their seeds, described in plain values."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from pipeline.data.dataset import CLASSES, PIXELS
from pipeline.network.perceptron import Perceptron
from pipeline.params import Model, Train, Variant

PACKAGES = ("data", "network", "training")  # their code determines the results of a training

# On the CPU, a part's members times the images per batch. Above this number the batches no longer fit into the caches,
# and members are faster one after another; below it, one matrix product for all members is faster (`make bench`).
ROWS_AT_ONCE = 2000
MEMBERS_AT_ONCE = 16

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
        """Build the untrained members, on the CPU; only the weights that are trained require gradients."""
        network = Perceptron(self.model, self.variant, self.seeds)
        if self.train.weights == "norms" and any(weight.requires_grad for weight in network.norms.parameters()):
            network.linears.requires_grad_(False)
        return network

    def epochs(self) -> int:
        """Return the number of epochs that training takes, summed over the members."""
        return len(self.seeds) * self.train.epochs

    def parts(self, workers: int = 1, memory: int | None = None) -> list["Population"]:
        """Split the population into parts to be trained at once, of nearly equal sizes.

        Args:
            workers: How many parts there should be at least, so that no worker is idle.
            memory: The bytes of the CUDA device's memory, or None for the CPU.

        Returns:
            Populations of at least one seed, in order.
        """
        if memory is None:
            most = min(MEMBERS_AT_ONCE, ROWS_AT_ONCE // self.train.batch_size)
        else:
            most = int(SHARE_OF_MEMORY * memory) // self.bytes_per_member()
        seeds = len(self.seeds)
        count = min(seeds, max(workers, -(-seeds // max(1, most))))
        ends = [seeds * number // count for number in range(count + 1)]
        return [replace(self, seeds=self.seeds[start:end]) for start, end in pairwise(ends)]

    def bytes_per_member(self) -> int:
        """Return an upper bound of the memory that a member takes while it is trained and measured."""
        network = replace(self, seeds=self.seeds[:1]).network()
        weights = sum(weight.numel() for weight in network.parameters())
        units = sum(tensor.units for tensor in network.hidden_tensors() if tensor.side == "output")
        rows = max(self.train.batch_size, self.train.validation_batch_size)
        values = rows * (2 * PIXELS + VALUES_OF_A_UNIT * (units + CLASSES))
        return 4 * (4 * weights + values)  # float32; weights, their gradients and Adam's two moments

    def digest(self, holdout: int, images: str) -> str:
        """Return a SHA-256 of everything but its seed that determines the results of a member.

        Args:
            holdout: How many training images are held out.
            images: The digest of the image files.

        Returns:
            The hexadecimal digest of the settings, the images and the code that trains.
        """
        package = Path(__file__).parents[1]
        code = sorted(path for name in PACKAGES for path in (package / name).glob("*.py"))
        determinants = [
            self.variant,
            self.model.model_dump(mode="json"),
            self.train.model_dump(mode="json", exclude={"seeds"}),
            holdout,
            images,
            [hashlib.sha256(path.read_bytes()).hexdigest() for path in code],
        ]
        return hashlib.sha256(json.dumps(determinants, sort_keys=True).encode()).hexdigest()


def name_of(seeds: Sequence[int]) -> str:
    """Return the name of a file for some seeds of a population, which no other seeds have."""
    digest = hashlib.sha256(json.dumps(list(seeds)).encode()).hexdigest()
    return f"{seeds[0]}-{seeds[-1]}-{digest[:8]}"
