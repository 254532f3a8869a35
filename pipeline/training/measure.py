"""The measurements that are taken of networks while they train."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from pipeline.network.network import Network

Measure = Callable[[Network], Mapping[str, Tensor]]  # from a network to named tensors, the members first


@dataclass(frozen=True)
class Probing:
    """A measurement taken before the first iteration, and within epochs.

    Attributes:
        steps: The numbers of iterations after which it is taken.
        measure: Called with the network in evaluation mode, without gradients.
    """

    steps: Collection[int]
    measure: Measure
