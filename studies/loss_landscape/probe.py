"""The smoothness of the loss along the gradient, and the distribution of what enters the last hidden layer's sigmoids.

Smoothness is that of Santurkar et al. 2018, section 3.1 and figure 4. On a fixed batch with gradient g at the weights
w, over step lengths s: the range of the loss L(w - s·g), the range of the gradient's change ‖∇L(w - s·g) - g‖, and the
effective smoothness, the maximum of that change divided by ‖s·g‖. The loss is that of training, normalised by the
batch's own statistics, but without noise. The distributions (figure 2) are over the same batch, both as training
computes them, with the noise of the next step, and as evaluation does. The weights, the running statistics and the
count of noisy steps are restored bit for bit.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.data.dataset import Examples, Split
from pipeline.network.layers import Noise
from pipeline.network.metrics import member_losses
from pipeline.network.network import Network
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population

FACTORS = (0.5, 1.0, 2.0, 4.0)  # step lengths divided by the learning rate: the range of the paper's figure 4


def probe(population: Population, split: Split) -> Measure:
    """Return a measurement on the first training images, as many as a batch has.

    Returns:
        A function from a network to what `along_the_gradient` measures and, as `training` and `evaluation` compute it,
        the `moments` of what enters the last hidden layer's activation function.
    """
    size = population.train.batch_size
    batch = Examples(split.train.images[:size], split.train.labels[:size])
    lengths = [factor * population.train.lr for factor in FACTORS]

    def measure(network: Network) -> dict[str, Tensor]:
        assert isinstance(network, Perceptron)
        return {
            **along_the_gradient(network, batch, lengths),
            "training": moments(in_training(network, batch.images)),
            "evaluation": moments(entering(network, batch.images)),
        }

    return measure


def along_the_gradient(network: Network, batch: Examples, lengths: Sequence[float]) -> dict[str, Tensor]:
    """Measure the loss and its gradient at the weights and at steps along the gradient.

    Args:
        network: The members.
        batch: The images and labels.
        lengths: The step lengths s.

    Returns:
        `loss` at the weights; `loss_low` and `loss_high`, `gradient_low` and `gradient_high`, the ranges over the
        steps; and `smoothness`. Each is [members].
    """
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    start = [weight.clone() for weight in weights]
    losses, distances, slopes = [], [], []
    with network.batch_statistics():
        loss, gradient = _loss_and_gradient(network, batch, weights)
        for length in lengths:
            for weight, origin, slope in zip(weights, start, gradient, strict=True):
                weight.copy_(origin - length * slope)
            moved_loss, moved = _loss_and_gradient(network, batch, weights)
            losses.append(moved_loss)
            distances.append(_norm([there - here for there, here in zip(moved, gradient, strict=True)]))
            slopes.append(distances[-1] / (length * _norm(gradient)))
    for weight, origin in zip(weights, start, strict=True):
        weight.copy_(origin)
    return {
        "loss": loss,
        "loss_low": torch.stack(losses).amin(0),
        "loss_high": torch.stack(losses).amax(0),
        "gradient_low": torch.stack(distances).amin(0),
        "gradient_high": torch.stack(distances).amax(0),
        "smoothness": torch.stack(slopes).amax(0),
    }


def moments(values: Tensor) -> Tensor:
    """Return each unit's mean and standard deviation [members, units, 2] over images, of [members, images, units]."""
    members = [member.T.contiguous() for member in values]  # one by one: sums of several may round otherwise
    return torch.stack([torch.stack([by_unit.mean(1), by_unit.std(1)], dim=1) for by_unit in members])


def in_training(network: Perceptron, images: Tensor) -> Tensor:
    """Compute what enters the last hidden layer's activation function in training; see `entering`.

    Batch Normalization normalises by the images' own statistics, and noise is that of the next step.
    """
    noises = _noises(network)
    steps = [noise.steps.clone() for noise in noises]
    network.noises.train()
    with network.batch_statistics():
        values = entering(network, images)
    network.noises.eval()
    for noise, count in zip(noises, steps, strict=True):
        noise.steps.copy_(count)
    return values


def entering(network: Perceptron, images: Tensor) -> Tensor:
    """Compute what enters the last hidden layer's activation function [members, images, units], with any noise."""
    tensors: dict[str, Tensor] = {}
    network(images, tensors.__setitem__)
    *_, last = (tensor.name for tensor in network.hidden_tensors() if tensor.side == "input")
    values = tensors[last]
    if network.before and (noises := _noises(network)):  # the network shows only what this noise is added to
        noises[-1].steps -= int(noises[-1].training)  # so that the same noise is drawn again
        values = noises[-1](values)
    return values


def _noises(network: Perceptron) -> list[Noise]:
    return [module for module in network.noises if isinstance(module, Noise)]


def _loss_and_gradient(
    network: Network, batch: Examples, weights: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    with torch.enable_grad():
        logits = network(batch.images)
        loss = member_losses(logits, batch.labels.expand(len(logits), -1))
        return loss.detach(), torch.autograd.grad(loss.sum(), weights)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm [members] of all tensors [members, ...] together."""
    squares = [tensor.flatten(1).square().sum(1) for tensor in tensors]
    return functools.reduce(torch.add, squares).sqrt()  # in this order, however many members there are
