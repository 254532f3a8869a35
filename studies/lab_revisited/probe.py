"""The lab's own picture of the second hidden layer, beside what really enters that layer's activation function.

The lab's `activation` method normalises before the activation function, `bn2(linear2(sigmoid(bn1(linear1(x)))))`,
while its `forward`, which is trained, normalises after it; and it is given a single test image.
"""

from torch import Tensor

from pipeline.data.dataset import Split
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population


def probe(population: Population, split: Split) -> Measure:
    """Measure the second hidden layer (the first where there is no second), in evaluation mode.

    lab, network: values [members, units] of the first test image, as the lab computes them and as they enter the
    activation function. lab_mean, lab_deviation, network_mean, network_deviation: [members], over all units and
    all test images.
    """
    layer = min(2, len(population.model.hidden))
    images = split.test.images

    def measure(network: Perceptron) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        network(images, seen.__setitem__)
        entering = "normalised" if network.norms and network.before else "pre_activation"
        views = {"lab": as_the_lab(network, images, layer), "network": seen[f"layer{layer}.{entering}"]}
        found = {name: values[:, 0] for name, values in views.items()}
        for name, values in views.items():
            exact = values.double().flatten(1)
            found |= {f"{name}_mean": exact.mean(1), f"{name}_deviation": exact.std(1)}
        return found

    return measure


def as_the_lab(network: Perceptron, images: Tensor, layer: int) -> Tensor:
    """Compute what the lab's `activation` does: [members, images, units] of a hidden layer."""
    hidden = images
    for number in range(layer):
        if number:
            hidden = network.function(hidden)
        hidden = network.linears[number](hidden)
        if network.norms:
            hidden = network.norms[number](hidden)
    return hidden
