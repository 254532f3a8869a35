"""How much of the gradient reaches the first layer, before training and after one step (Yang et al. 2019)."""

import copy

import torch
from torch import Tensor

from pipeline.data.dataset import Split
from pipeline.network.metrics import member_losses
from pipeline.network.network import Network
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population

IMAGES = 500  # training images of the batch


def probe(_population: Population, split: Split) -> Measure:
    """Return a measurement on the first training images as one batch, normalised by its own statistics, as in training.

    It is in float64: in float32 the gradient of 64 layers of sigmoids would end as 0.

    Returns:
        A function from a network to the root mean square of the loss's gradient over the weights of a layer: `first`
        and `last`, of the first and the last hidden layer, and `layers` [members, hidden layers]; and to the logarithm
        to base 10 of first / last, `log_ratio`. The others are [members].
    """
    images, labels = split.train.images[:IMAGES].double(), split.train.labels[:IMAGES]

    def measure(network: Network) -> dict[str, Tensor]:
        assert isinstance(network, Perceptron)
        precise = copy.deepcopy(network).double()
        weights = [linear.weight for linear in precise.linears[:-1]]
        with precise.batch_statistics(), torch.enable_grad():
            logits = precise(images)
            losses = member_losses(logits, labels.expand(len(logits), -1))
            gradients = torch.autograd.grad(losses.sum(), weights)
        squares = [gradient.square().flatten(1).mean(1) for gradient in gradients]
        sizes = torch.stack(squares, dim=1).sqrt()
        first, last = sizes[:, 0], sizes[:, -1]
        return {"first": first, "last": last, "layers": sizes, "log_ratio": (first / last).log10()}

    return measure
