"""The lab's picture of the second hidden layer, beside the true inputs of both layers' activation functions.

The lab's method `activation` normalises before the activation function, `bn2(linear2(sigmoid(bn1(linear1(x)))))`,
whereas its method `forward`, which is trained, normalises after it. The lab calls `activation` on one test image.
"""

import torch
from torch import Tensor

from pipeline.data.dataset import Split
from pipeline.network.network import Network
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population


def probe(population: Population, split: Split) -> Measure:
    """Return a measurement of the hidden layers, in evaluation mode.

    Returns:
        A function from a network to `lab` and `network` [members, units], values of the second hidden layer, or of the
        only one, for the first test image as the lab computes them and as they enter the activation function; and for
        each layer, such as `layer1`, what enters its activation function over all test images: see `spread`.
    """
    layer = min(2, len(population.model.hidden))
    images = split.test.images

    def measure(network: Network) -> dict[str, Tensor]:
        assert isinstance(network, Perceptron)
        tensors: dict[str, Tensor] = {}
        network(images, tensors.__setitem__)
        entering = "normalised" if network.norms and network.before else "pre_activation"
        measured = {
            "lab": as_the_lab(network, images, layer)[:, 0],
            "network": tensors[f"layer{layer}.{entering}"][:, 0],
        }
        for number in range(1, len(population.model.hidden) + 1):
            values = spread(tensors[f"layer{number}.{entering}"])
            measured |= {f"layer{number}_{name}": value for name, value in values.items()}
        return measured

    return measure


def spread(values: Tensor) -> dict[str, Tensor]:
    """Describe the values [members, images, units] of a layer.

    Returns:
        `mean` and `pooled`, mean and standard deviation over units and images together; `within`, the mean over units
        of a unit's deviation over images; and `between`, the deviation over units of a unit's mean. Each is [members].
    """
    members = [member.T.double().contiguous() for member in values]  # one by one: sums of several may round otherwise
    described = {
        "mean": [by_unit.mean() for by_unit in members],
        "pooled": [by_unit.std() for by_unit in members],
        "within": [by_unit.std(1).mean() for by_unit in members],
        "between": [by_unit.mean(1).std() for by_unit in members],
    }
    return {name: torch.stack(numbers) for name, numbers in described.items()}


def as_the_lab(network: Perceptron, images: Tensor, layer: int) -> Tensor:
    """Compute the values [members, images, units] of a hidden layer as the lab's method `activation` does."""
    hidden = images
    for number in range(layer):
        if number:
            hidden = network.function(hidden)
        hidden = network.linears[number](hidden)
        if network.norms:
            hidden = network.norms[number](hidden)
    return hidden
