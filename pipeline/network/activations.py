"""Histograms and moments of the hidden tensors that a network computes.

Bins are fixed, so that histograms of any two networks, epochs and layers can be compared. Unbounded values are binned
evenly in asinh(value), which is linear around zero and logarithmic far from it, because pre-activations reach the
hundreds at the lab's learning rate.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.dataset import Examples
from pipeline.network.layers import by_vectors
from pipeline.network.metrics import predict, score
from pipeline.network.network import Network, Side

BINS = 100
REACH = 10.0  # asinh(11013); the outermost bins also hold all values beyond it

# A value is saturated where the activation function is within 1 % of its limits (ReLU: where it is 0).
SATURATED_INPUT: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: z.abs() > float(np.log(99)),
    "tanh": lambda z: z.abs() > float(np.log(99)) / 2,
    "relu": lambda z: z <= 0,
}
SATURATED_OUTPUT: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda a: (a - 0.5).abs() > 0.49,
    "tanh": lambda a: a.abs() > 0.98,
    "relu": lambda a: a <= 0,
}


@dataclass(frozen=True)
class Scale:
    """The axis on which one kind of tensor is binned.

    Attributes:
        low, high: The ends of the axis: values or, if `asinh`, their inverse hyperbolic sines.
        asinh: Whether bins are even in asinh(value) rather than in the value.
    """

    low: float
    high: float
    asinh: bool

    def edges(self) -> NDArray[np.float64]:
        """Return the edges of the bins [BINS + 1], as values of the tensor."""
        even = np.linspace(self.low, self.high, BINS + 1)
        return np.sinh(even) if self.asinh else even

    def count(self, values: Tensor) -> Tensor:
        """Count each member's values by bin.

        Args:
            values: [members, batch, units]; those that are not a number are left out.

        Returns:
            Counts [members, BINS], int64.
        """
        members = len(values)
        scaled = _asinh(values) if self.asinh else values
        index = (scaled - self.low).mul_(BINS / (self.high - self.low)).clamp_(0, BINS - 1).nan_to_num_(BINS).long()
        index += torch.arange(members, device=values.device).view(-1, 1, 1) * (BINS + 1)
        return index.flatten().bincount(minlength=members * (BINS + 1)).view(members, BINS + 1)[:, :BINS]


def scale(tensor: str, activation: str) -> Scale:
    """Return the axis of a tensor such as `layer1.activation` in networks with this activation function."""
    bounded = {"sigmoid": Scale(0, 1, asinh=False), "tanh": Scale(-1, 1, asinh=False)}
    if tensor.endswith(".activation") and activation in bounded:
        return bounded[activation]
    return Scale(-REACH, REACH, asinh=True)


@by_vectors
def _asinh(values: Tensor) -> Tensor:
    """Return the inverse hyperbolic sine, to float32's 1e-7, by a logarithm: `torch.asinh` takes ten times as long."""
    sizes = values.abs()
    return torch.copysign((sizes + (sizes.square() + 1).sqrt()).log_(), values)


class _Summary:
    """Sums over batches of one tensor's values."""

    def __init__(self, axis: Scale, saturated: Callable[[Tensor], Tensor] | None) -> None:
        self.axis = axis
        self.saturated = saturated
        self.values = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, values: Tensor) -> None:
        self.values += values[0].numel()
        self._sum("counts", self.axis.count(values))
        exact = values.contiguous().double()
        self._sum("mean", exact.sum((1, 2)))
        self._sum("square", exact.square().sum((1, 2)))
        if self.saturated:
            self._sum("saturated", self.saturated(values).sum((1, 2), dtype=torch.float64))

    def _sum(self, name: str, values: Tensor) -> None:
        self.sums[name] = self.sums[name] + values if name in self.sums else values

    def results(self) -> Iterator[tuple[str, Tensor]]:
        mean = self.sums["mean"] / self.values
        yield "counts", self.sums["counts"]
        yield "mean", mean
        yield "std", (self.sums["square"] / self.values - mean.square()).clamp_(min=0).sqrt()
        if self.saturated:
            yield "saturated", self.sums["saturated"] / self.values


def measure(network: Network, activation: str, examples: Examples, batch_size: int) -> dict[str, Tensor]:
    """Measure losses, accuracies and hidden tensors in one pass over `examples`.

    Args:
        network: The members, in evaluation mode.
        activation: Their activation function.
        examples: The images and labels to measure on.
        batch_size: The most images in a forward pass.

    Returns:
        `loss` and `accuracy` [members]; and for every hidden tensor, such as `layer1.pre_activation`, over all images
        and units: `.counts` [members, BINS], int64; `.mean` and `.std` (biased) [members], float64; and, unless nothing
        that could saturate follows, `.saturated` [members], the fraction of values that saturate the activation
        function.
    """
    summaries = {
        tensor.name: _Summary(scale(tensor.name, activation), _saturation(tensor.side, activation))
        for tensor in network.hidden_tensors()
    }

    def observe(name: str, values: Tensor) -> None:
        summaries[name].add(values)

    logits = predict(network, examples.images, batch_size, observe)
    return {
        **score(logits, examples.labels),
        **{
            f"{name}.{statistic}": values
            for name, summary in summaries.items()
            for statistic, values in summary.results()
        },
    }


def _saturation(side: Side, activation: str) -> Callable[[Tensor], Tensor] | None:
    if side is None:
        return None
    return (SATURATED_INPUT if side == "input" else SATURATED_OUTPUT)[activation]
