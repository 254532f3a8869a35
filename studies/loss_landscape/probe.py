"""How smooth the loss is along the gradient (Santurkar et al. 2018, section 3.1 and figure 4).

On a fixed batch with gradient g at the weights w, over step lengths s: the range of the loss L(w - s·g), the range of
the gradient's change ‖∇L(w - s·g) - g‖, and the effective smoothness, the greatest of that over ‖s·g‖. The loss is
that of training, normalised by the batch's own statistics, without noise. Weights and running statistics are
afterwards what they were, bit for bit.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.data.dataset import Examples, Split
from pipeline.network.metrics import member_losses
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population

FACTORS = (0.5, 1.0, 2.0, 4.0)  # step lengths over the learning rate: the range of the paper's figure 4


def probe(population: Population, split: Split) -> Measure:
    """Measure on the first training images, as many as a batch has; every value is [members]."""
    size = population.train.batch_size
    batch = Examples(split.train.images[:size], split.train.labels[:size])
    lengths = [factor * population.train.lr for factor in FACTORS]
    return lambda network: along_the_gradient(network, batch, lengths)


def along_the_gradient(network: Perceptron, batch: Examples, lengths: Sequence[float]) -> dict[str, Tensor]:
    """Return `loss`, and over the step `lengths` `loss_low` and `_high`, `gradient_low` and `_high`, `smoothness`."""
    weights = list(network.parameters())
    start = [weight.clone() for weight in weights]
    losses, distances, slopes = [], [], []
    with network.batch_statistics():
        loss, gradient = _loss_and_gradient(network, batch, weights)
        for length in lengths:
            for weight, was, slope in zip(weights, start, gradient, strict=True):
                weight.copy_(was - length * slope)
            moved_loss, moved = _loss_and_gradient(network, batch, weights)
            losses.append(moved_loss)
            distances.append(_norm([there - here for there, here in zip(moved, gradient, strict=True)]))
            slopes.append(distances[-1] / (length * _norm(gradient)))
    for weight, was in zip(weights, start, strict=True):
        weight.copy_(was)
    return {
        "loss": loss,
        "loss_low": torch.stack(losses).amin(0),
        "loss_high": torch.stack(losses).amax(0),
        "gradient_low": torch.stack(distances).amin(0),
        "gradient_high": torch.stack(distances).amax(0),
        "smoothness": torch.stack(slopes).amax(0),
    }


def _loss_and_gradient(
    network: Perceptron, batch: Examples, weights: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    with torch.enable_grad():
        logits = network(batch.images)
        loss = member_losses(logits, batch.labels.expand(len(logits), -1))
        return loss.detach(), torch.autograd.grad(loss.sum(), weights)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm [members] of all tensors [members, ...] together."""
    return torch.stack([tensor.flatten(1).square().sum(1) for tensor in tensors]).sum(0).sqrt()
