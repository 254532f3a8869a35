"""Layers, each computed for all members at once: affine maps, and noise in the place of a normalisation.

On one thread of a CPU, a member's results do not depend on the members beside it, to the last bit.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

# PyTorch computes tensors by vectors of at most this many values, and what is left at their ends by other code, which
# rounds differently. Where that would be the end of some member's values, they are padded.
VECTOR = 64
NOISE_STREAM = 2**32  # separates these random streams from those of `batch_order`, whose second key is the epoch


class Linear(nn.Module):
    """An affine map for each member.

    Attributes:
        weight: [members, outputs, inputs].
        bias: [members, outputs].
    """

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(members, outputs))

    @torch.no_grad()
    def draw(self, member: int, generator: torch.Generator, deviation: float | None) -> None:
        """Draw the initial weights of one member.

        Args:
            member: The member's index.
            generator: Advanced by the draw.
            deviation: Draw weights from N(0, deviation²) and set biases to 0; with None, draw both from
                U(-1/√inputs, 1/√inputs), number for number as `torch.nn.Linear` does.
        """
        if deviation is not None:
            self.weight[member] = torch.empty(self.weight.shape[1:]).normal_(0, deviation, generator=generator)
            self.bias[member] = 0
            return
        bound = self.weight.shape[2] ** -0.5
        for parameter in (self.weight, self.bias):
            parameter[member] = torch.empty(parameter.shape[1:]).uniform_(-bound, bound, generator=generator)

    def matrix(self) -> Tensor:
        """Return the matrices of the maps [members, outputs, inputs]."""
        return self.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply each member's map.

        Args:
            inputs: [members, batch, inputs], or [batch, inputs] shared by all members.

        Returns:
            [members, batch, outputs].
        """
        result: Tensor = _Affine.apply(inputs.expand(len(self.weight), -1, -1), self.matrix(), self.bias)
        return result


class _Affine(torch.autograd.Function):
    """The map of `Linear`, whose gradients have the layout of the weights: PyTorch's would be transposed."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return torch.baddbmm(bias.unsqueeze(1), inputs, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        gradient = gradient.contiguous()  # a sum over strided values rounds by how many members lie between them
        towards_inputs = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return towards_inputs, None, None
        return towards_inputs, torch.bmm(gradient.transpose(1, 2), inputs), gradient.sum(1)


def by_vectors(
    function: Callable[[Tensor], Tensor], backward: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Callable[[Tensor], Tensor]:
    """Return an elementwise function that computes every value by the vectors of the processor.

    Args:
        function: The function.
        backward: Its gradient, from that of the result and the result; needed only in training.
    """

    def padded(values: Tensor) -> Tensor:
        if values.numel() % VECTOR == 0 or values.device.type != "cpu":
            return function(values)
        if backward and values.requires_grad:
            result: Tensor = _Padded.apply(values, function, backward)
            return result
        return function(_pad(values))[: values.numel()].view(values.shape)

    return padded


class _Padded(torch.autograd.Function):
    """An elementwise function of padded values; PyTorch's own gradient would copy them four times."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, function: Any, backward: Any) -> Tensor:
        result: Tensor = function(_pad(values))
        ctx.save_for_backward(result)
        ctx.gradient = backward
        return result[: values.numel()].view(values.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        towards_values: Tensor = ctx.gradient(_pad(gradient), *ctx.saved_tensors)
        return towards_values[: gradient.numel()].view(gradient.shape), None, None


def _pad(values: Tensor) -> Tensor:
    return F.pad(values.flatten(), (0, -values.numel() % VECTOR))


class Noise(nn.Module):
    """Noise whose distribution changes at every training step (Santurkar et al. 2018, algorithm 1).

    Draws μ ~ U(-0.5, 0.5) and σ ~ U(1, 1.25) for each step and unit, then m ~ U(μ - 0.1, μ + 0.1) and s ~ N(σ, 0.1²)
    for each value, and maps a to s·a + m. Evaluation adds no noise.

    A member's noise depends only on its seed, the layer and the step. It is drawn on the CPU, so that with noise, and
    only then, every step waits for a CUDA device.

    Attributes:
        steps: The number of steps that each member has trained [members], int64: part of the network's state.
    """

    def __init__(self, seeds: Sequence[int], layer: int) -> None:
        super().__init__()
        self.seeds = tuple(seeds)
        self.layer = layer
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros(len(seeds), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `inputs` [members, batch, units] with noise in training, and unchanged in evaluation."""
        if not self.training:
            return inputs
        drawn = [self._draw(*at, inputs.shape[1:]) for at in zip(self.seeds, self.steps.tolist(), strict=True)]
        factors, shifts = (torch.from_numpy(np.stack(parts)).to(inputs) for parts in zip(*drawn, strict=True))
        self.steps += 1
        return factors * inputs + shifts

    def _draw(self, seed: int, step: int, shape: torch.Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        random = np.random.default_rng((seed, NOISE_STREAM + self.layer, step))
        mean = random.uniform(-0.5, 0.5, shape[1]).astype(np.float32)
        deviation = random.uniform(1, 1.25, shape[1]).astype(np.float32)
        shift = mean + np.float32(0.2) * (random.random(shape, np.float32) - np.float32(0.5))
        return deviation + np.float32(0.1) * random.standard_normal(shape, np.float32), shift
