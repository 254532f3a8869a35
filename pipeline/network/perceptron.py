"""The perceptron, for any number of members at once. Batch Normalization is one argument: nothing else differs."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.data.dataset import CLASSES, PIXELS
from pipeline.network.layers import BatchNorm, Linear, Noise
from pipeline.params import Model

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}

Observer = Callable[[str, Tensor], None]


class Perceptron(nn.Module):
    """784 pixels, hidden layers, 10 logits; one network per seed, all of them computed together.

    Members never influence one another. The weights of a member depend on its seed alone, not on Batch
    Normalization and not on the other members, so that the variants of a seed start equal.
    """

    def __init__(self, model: Model, batchnorm: bool, seeds: Sequence[int]) -> None:
        super().__init__()
        widths = [PIXELS, *model.hidden, CLASSES]
        linears = [Linear(len(seeds), *pair) for pair in pairwise(widths)]
        for member, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            for linear in linears:
                linear.draw(member, generator, model.initial_deviation)
        self.linears = nn.ModuleList(linears)
        self.norms = nn.ModuleList(BatchNorm(len(seeds), units) for units in model.hidden if batchnorm)
        self.noises = nn.ModuleList(Noise(seeds, layer) for layer in range(len(model.hidden)) if model.noise)
        self.function = ACTIVATIONS[model.activation]
        self.before = model.batchnorm_position == "before_activation"
        self.binary = model.binary_input

    def forward(self, images: Tensor, observe: Observer | None = None) -> Tensor:
        """Logits [members, batch, 10] of images [members, batch, 784], or [batch, 784] shared by the members.

        `observe` is handed every hidden tensor [members, batch, units] as it is computed, by name: for layer
        1, `layer1.pre_activation`, `layer1.activation` and, with Batch Normalization, `layer1.normalised`.
        """
        see = observe or _look_away
        hidden = (images > 0.5).to(images.dtype) if self.binary else images
        for number, linear in enumerate(self.linears[:-1]):
            layer = f"layer{number + 1}"
            hidden = linear(hidden)
            see(f"{layer}.pre_activation", hidden)
            if self.before:
                hidden = self._normalise(number, hidden, see)
            hidden = self.function(hidden)
            see(f"{layer}.activation", hidden)
            if not self.before:
                hidden = self._normalise(number, hidden, see)
        logits: Tensor = self.linears[-1](hidden)
        return logits

    @contextlib.contextmanager
    def batch_statistics(self) -> Iterator[None]:
        """Within, normalise by each batch's own statistics; the running ones are afterwards as they were."""
        training = self.norms.training
        self.norms.train()
        with self.statistics_kept():
            try:
                yield
            finally:
                self.norms.train(training)

    @contextlib.contextmanager
    def statistics_kept(self) -> Iterator[None]:
        """Make the running statistics afterwards what they were before."""
        kept = [buffer.clone() for buffer in self.norms.buffers()]
        try:
            yield
        finally:
            for buffer, was in zip(self.norms.buffers(), kept, strict=True):
                buffer.copy_(was)

    def _normalise(self, number: int, hidden: Tensor, see: Observer) -> Tensor:
        """Do what stands at the place of Batch Normalization."""
        if self.norms:
            hidden = self.norms[number](hidden)
            see(f"layer{number + 1}.normalised", hidden)
        if self.noises:
            hidden = self.noises[number](hidden)
        return hidden


def restore(model: Model, batchnorm: bool, weights: Mapping[str, NDArray[np.float32]]) -> Perceptron:
    """Return trained networks in evaluation mode, from their state, every array with the members first."""
    members = len(next(iter(weights.values())))
    network = Perceptron(model, batchnorm, seeds=range(members))
    network.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return network.eval()


def _look_away(name: str, tensor: Tensor) -> None:
    """Observe nothing."""
