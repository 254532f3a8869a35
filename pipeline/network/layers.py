"""The layers, each for all members at once: affine maps, Batch Normalization, and noise in its place."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

EPSILON = 1e-5
MOMENTUM = 0.1
NOISE_STREAM = 2**32  # keeps the noise's random numbers apart from the batch orders', which count epochs


class Linear(nn.Module):
    """Affine maps of all members: weight [members, inputs, outputs], bias [members, 1, outputs]."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs))

    @torch.no_grad()
    def draw(self, member: int, generator: torch.Generator, deviation: float | None) -> None:
        """Fill one member: weights from N(0, deviation²) and biases 0, or all from U(-1/√inputs, 1/√inputs).

        The uniform ones are number for number those of `torch.nn.Linear`.
        """
        if deviation is not None:
            self.weight[member] = torch.empty(self.weight.shape[1:]).normal_(0, deviation, generator=generator)
            self.bias[member] = 0
            return
        bound = self.weight.shape[1] ** -0.5
        drawn = torch.empty(self.weight.shape[:0:-1]).uniform_(-bound, bound, generator=generator)
        self.weight[member] = drawn.T
        self.bias[member] = torch.empty(self.bias.shape[2]).uniform_(-bound, bound, generator=generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [members, batch, inputs], or [batch, inputs] shared by all members, to [members, batch, outputs]."""
        if inputs.dim() == 3:
            return torch.baddbmm(self.bias, inputs, self.weight)
        members, width, outputs = self.weight.shape
        wide = self.weight.transpose(0, 1).reshape(width, members * outputs)
        return (inputs @ wide).view(-1, members, outputs).transpose(0, 1) + self.bias


class BatchNorm(nn.Module):
    """Batch Normalization (Ioffe & Szegedy 2015, algorithm 1) of every unit of every member.

    Training normalises by the batch's mean and biased variance; the running statistics follow PyTorch's rule
    `running = 0.9 running + 0.1 batch`, with the unbiased variance, and are what evaluation normalises by.
    """

    def __init__(self, members: int, units: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, units))
        self.shift = nn.Parameter(torch.zeros(members, units))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(members, units))
        self.register_buffer("running_var", torch.ones(members, units))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise [members, batch, units] over the batch."""
        members, batch, units = inputs.shape
        columns = inputs.transpose(0, 1).reshape(batch, members * units)
        normalised = F.batch_norm(
            columns,
            self.running_mean.flatten(),
            self.running_var.flatten(),
            self.scale.flatten(),
            self.shift.flatten(),
            self.training,
            MOMENTUM,
            EPSILON,
        )
        return normalised.view(batch, members, units).transpose(0, 1)


class Noise(nn.Module):
    """Noise of another distribution at every step, in training alone (Santurkar et al. 2018, algorithm 1).

    Per step and unit μ ~ U(-0.5, 0.5) and σ ~ U(1, 1.25); per value m ~ U(μ - 0.1, μ + 0.1) and s ~ N(σ, 0.1²):
    a becomes s·a + m. A member's noise depends on its seed, the layer and the step alone. It is drawn on the
    processor: with noise, and only then, every step waits for a CUDA device.
    """

    def __init__(self, seeds: Sequence[int], layer: int) -> None:
        super().__init__()
        self.seeds = tuple(seeds)
        self.layer = layer
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros(len(seeds), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Disturb [members, batch, units]."""
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
