"""What flows through the hidden layers: histograms and moments of the tensors that `forward` computes.

Bins are fixed, so that histograms of any two networks, epochs and layers can be compared. Values without bounds
are binned evenly in asinh(value): linear around zero and logarithmic far out, since pre-activations reach the
hundreds at the lab's learning rate.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.dataset import Examples
from pipeline.network.metrics import predict, score
from pipeline.network.perceptron import Perceptron

BINS = 100
REACH = 10.0  # asinh(11013): the outermost bins also hold everything beyond

# A unit is saturated where its activation function is within 1 % of its limits (ReLU: where it is 0).
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
    """The axis on which one kind of tensor is binned; `asinh` tells whether it is bent."""

    low: float
    high: float
    asinh: bool

    def edges(self) -> NDArray[np.float64]:
        """The edges [BINS + 1] of the bins, as values of the tensor."""
        even = np.linspace(self.low, self.high, BINS + 1)
        return np.sinh(even) if self.asinh else even

    def count(self, values: Tensor) -> Tensor:
        """Histogram [members, BINS] of values [members, batch, units]; what is not a number is left out."""
        members = len(values)
        bent = values.asinh() if self.asinh else values
        index = (bent - self.low).mul_(BINS / (self.high - self.low)).clamp_(0, BINS - 1).nan_to_num_(BINS).long()
        index += torch.arange(members, device=values.device).view(-1, 1, 1) * (BINS + 1)
        return index.flatten().bincount(minlength=members * (BINS + 1)).view(members, BINS + 1)[:, :BINS]


def scale(tensor: str, activation: str) -> Scale:
    """The axis of a tensor such as `layer1.activation`, for networks with this activation function."""
    bounded = {"sigmoid": Scale(0, 1, asinh=False), "tanh": Scale(-1, 1, asinh=False)}
    if tensor.endswith(".activation") and activation in bounded:
        return bounded[activation]
    return Scale(-REACH, REACH, asinh=True)


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
        exact = values.double()
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


def measure(network: Perceptron, activation: str, examples: Examples, batch_size: int) -> dict[str, Tensor]:
    """One pass over `examples`, every tensor with the members first.

    `loss` and `accuracy` [members]; for every hidden tensor, such as `layer1.pre_activation`, over all images
    and units: `.counts` [members, BINS], `.mean`, `.std` (biased) and, where it has a meaning, `.saturated`
    [members], the fraction of values at which the activation function is saturated.
    """
    summaries: dict[str, _Summary] = {}

    def observe(name: str, values: Tensor) -> None:
        if name not in summaries:
            summaries[name] = _Summary(scale(name, activation), _saturation(name, activation, network.before))
        summaries[name].add(values)

    logits = predict(network, examples.images, batch_size, observe)
    return {
        **score(logits, examples.labels),
        **{f"{name}.{what}": value for name, of in summaries.items() for what, value in of.results()},
    }


def _saturation(tensor: str, activation: str, batchnorm_before: bool) -> Callable[[Tensor], Tensor] | None:
    if tensor.endswith(".activation"):
        return SATURATED_OUTPUT[activation]
    if tensor.endswith(".pre_activation") or batchnorm_before:
        return SATURATED_INPUT[activation]
    return None  # normalised after the activation: nothing follows that could saturate
