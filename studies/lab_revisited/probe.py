"""The lab's picture of the second hidden layer, beside the true input of that layer's activation function.

The lab's method `activation` normalises before the activation function, `bn2(linear2(sigmoid(bn1(linear1(x)))))`,
whereas its method `forward`, which is trained, normalises after it. The lab calls `activation` on one test image.
"""

from torch import Tensor

from pipeline.data.dataset import Split
from pipeline.network.network import Network
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population


def probe(population: Population, split: Split) -> Measure:
    """Return a measurement of the second hidden layer, or of the only one, in evaluation mode.

    Returns:
        A function from a network to `lab` and `network` [members, units], values of the first test image as the lab
        computes them and as they enter the activation function; and `lab_mean`, `lab_deviation`, `network_mean` and
        `network_deviation` [members], over all units and all test images.
    """
    layer = min(2, len(population.model.hidden))
    images = split.test.images

    def measure(network: Network) -> dict[str, Tensor]:
        assert isinstance(network, Perceptron)
        tensors: dict[str, Tensor] = {}
        network(images, tensors.__setitem__)
        entering = "normalised" if network.norms and network.before else "pre_activation"
        views = {"lab": as_the_lab(network, images, layer), "network": tensors[f"layer{layer}.{entering}"]}
        measured = {name: values[:, 0] for name, values in views.items()}
        for name, values in views.items():
            exact = values.double().flatten(1)
            measured |= {f"{name}_mean": exact.mean(1), f"{name}_deviation": exact.std(1)}
        return measured

    return measure


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
