"""The perceptron, computed for any number of members at once; one argument switches Batch Normalization on."""

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

Observer = Callable[[str, Tensor], None]  # receives the name and values of a hidden tensor, [members, batch, units]


class Perceptron(nn.Module):
    """Networks of 784 pixels, hidden layers and 10 logits: one for each seed, all computed together.

    Members never influence one another. A member's initial weights depend only on its seed, not on Batch
    Normalization or on the other members, so that both variants of a seed start with equal weights.
    """

    def __init__(self, model: Model, batchnorm: bool, seeds: Sequence[int]) -> None:
        """Draw the initial weights, on the CPU.

        Args:
            model: The architecture.
            batchnorm: Whether every hidden layer has Batch Normalization.
            seeds: One for each member.
        """
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
        self.before = model.norm_position == "before_activation"
        self.binary = model.binary_input

    def forward(self, images: Tensor, observe: Observer | None = None) -> Tensor:
        """Compute the logits.

        Args:
            images: [members, batch, 784], or [batch, 784] shared by all members.
            observe: Receives every hidden tensor as soon as it is computed: in layer 1 `layer1.pre_activation`,
                `layer1.activation` and, with Batch Normalization, `layer1.normalised`.

        Returns:
            Logits [members, batch, 10].
        """
        observe = observe or _ignore
        hidden = (images > 0.5).to(images.dtype) if self.binary else images
        for number, linear in enumerate(self.linears[:-1]):
            layer = f"layer{number + 1}"
            hidden = linear(hidden)
            observe(f"{layer}.pre_activation", hidden)
            if self.before:
                hidden = self._normalise(number, hidden, observe)
            hidden = self.function(hidden)
            observe(f"{layer}.activation", hidden)
            if not self.before:
                hidden = self._normalise(number, hidden, observe)
        logits: Tensor = self.linears[-1](hidden)
        return logits

    @contextlib.contextmanager
    def batch_statistics(self) -> Iterator[None]:
        """Normalise by each batch's own statistics within the context; on leaving, restore the running statistics."""
        training = self.norms.training
        self.norms.train()
        with self.restored_statistics():
            try:
                yield
            finally:
                self.norms.train(training)

    @contextlib.contextmanager
    def restored_statistics(self) -> Iterator[None]:
        """Restore the running statistics on leaving the context."""
        saved = [buffer.clone() for buffer in self.norms.buffers()]
        try:
            yield
        finally:
            for buffer, values in zip(self.norms.buffers(), saved, strict=True):
                buffer.copy_(values)

    def _normalise(self, number: int, hidden: Tensor, observe: Observer) -> Tensor:
        """Apply Batch Normalization and noise, as far as the network has them."""
        if self.norms:
            hidden = self.norms[number](hidden)
            observe(f"layer{number + 1}.normalised", hidden)
        if self.noises:
            hidden = self.noises[number](hidden)
        return hidden


def restore(model: Model, batchnorm: bool, weights: Mapping[str, NDArray[np.float32]]) -> Perceptron:
    """Rebuild trained networks, in evaluation mode and on the CPU.

    Args:
        model: The architecture that they were trained with.
        batchnorm: Whether they have Batch Normalization.
        weights: Their state by PyTorch's names, every array with the members first.
    """
    members = len(next(iter(weights.values())))
    network = Perceptron(model, batchnorm, seeds=range(members))
    network.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return network.eval()


def _ignore(name: str, tensor: Tensor) -> None:
    """Observe nothing."""
