"""The perceptron, computed for any number of members at once; one word chooses its normalisation."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.data.dataset import CLASSES, PIXELS
from pipeline.network.layers import Linear, Noise, by_vectors
from pipeline.network.network import HiddenTensor, Network, Observer, Side
from pipeline.network.normalisation import LINEARS, NORMS
from pipeline.params import Model, Variant

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": by_vectors(torch.sigmoid, torch.ops.aten.sigmoid_backward),
    "tanh": by_vectors(torch.tanh, torch.ops.aten.tanh_backward),
    "relu": torch.relu,
}


class Perceptron(Network):
    """Networks of 784 pixels, hidden layers and 10 logits: one for each seed, all computed together.

    A member's initial weights depend only on its seed, not on the normalisation or on the other members, so that all
    variants of a seed start with equal weights.
    """

    def __init__(self, model: Model, variant: Variant, seeds: Sequence[int]) -> None:
        """Draw the initial weights, on the CPU.

        Args:
            model: The architecture, which `check_variant` accepts.
            variant: The normalisation of every hidden layer.
            seeds: One for each member.
        """
        super().__init__()
        *hidden, last = pairwise(widths(model))
        kind = LINEARS.get(variant, Linear)
        linears = [*(kind(len(seeds), *pair) for pair in hidden), Linear(len(seeds), *last)]
        for member, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            for linear in linears:
                linear.draw(member, generator, model.initial_deviation)
        self.linears = nn.ModuleList(linears)
        norms = [NORMS[variant](len(seeds), units, model) for units in model.hidden if variant in NORMS]
        self.norms = nn.ModuleList(norms)
        self.noises = nn.ModuleList(Noise(seeds, layer) for layer in range(len(model.hidden)) if model.noise)
        self.hidden = model.hidden
        self.function = ACTIVATIONS[model.activation]
        self.before = model.norm_position == "before_activation"
        self.binary = model.binary_input

    def forward(self, images: Tensor, observe: Observer | None = None) -> Tensor:
        """Compute the logits.

        Args:
            images: [members, batch, 784], or [batch, 784] shared by all members.
            observe: Receives every hidden tensor as soon as it is computed: in layer 1 `layer1.pre_activation`,
                `layer1.activation` and, where activations are normalised, `layer1.normalised`.

        Returns:
            Logits [members, batch, 10].
        """
        observe = observe or _ignore
        hidden = torch.gt(images, 0.5, out=torch.empty_like(images)) if self.binary else images
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

    def hidden_tensors(self) -> tuple[HiddenTensor, ...]:
        """Return the hidden tensors in the order in which they are computed."""
        kinds: list[tuple[str, Side]] = [("pre_activation", "input"), ("activation", "output")]
        if self.norms:
            kinds.insert(1 if self.before else 2, ("normalised", "input" if self.before else None))
        return tuple(
            HiddenTensor(f"layer{number}.{kind}", units, side)
            for number, units in enumerate(self.hidden, start=1)
            for kind, side in kinds
        )

    def _normalise(self, number: int, hidden: Tensor, observe: Observer) -> Tensor:
        """Apply normalisation and noise, as far as the network has them."""
        if self.norms:
            hidden = self.norms[number](hidden)
            observe(f"layer{number + 1}.normalised", hidden)
        if self.noises:
            hidden = self.noises[number](hidden)
        return hidden


def widths(model: Model) -> list[int]:
    """Return the values per image from the input to the logits, such as 784, 100, 100, 10."""
    return [PIXELS, *model.hidden, CLASSES]


def restore(model: Model, variant: Variant, weights: Mapping[str, NDArray[np.float32]]) -> Perceptron:
    """Rebuild trained networks, in evaluation mode and on the CPU.

    Args:
        model: The architecture that they were trained with.
        variant: Their normalisation.
        weights: Their state by PyTorch's names, every array with the members first.
    """
    members = len(next(iter(weights.values())))
    network = Perceptron(model, variant, seeds=range(members))
    network.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return network.eval()


def _ignore(name: str, tensor: Tensor) -> None:
    """Observe nothing."""
