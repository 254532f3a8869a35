"""The measurements that are taken of networks while they train."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from pipeline.network.network import Network

Measure = Callable[[Network], Mapping[str, Tensor]]  # from a network to named tensors, the members first


@dataclass(frozen=True)
class Probing:
    """A measurement taken within epochs, before the first iteration and then at regular intervals.

    Attributes:
        every: The number of iterations between two measurements.
        measure: Called with the network in evaluation mode, without gradients.
    """

    every: int
    measure: Measure
