"""The accuracy on the test images after shorter trainings, which the longest one contains."""

from torch import Tensor

from pipeline.data.dataset import Split
from pipeline.network.metrics import predict, score
from pipeline.network.network import Network
from pipeline.training.measure import Measure
from pipeline.training.population import Population


def probe(population: Population, split: Split) -> Measure:
    """Return a function from a network to its accuracies `held_out` and `test` [members], by running statistics."""
    size = population.train.validation_batch_size
    examples = {"held_out": split.validation, "test": split.test}

    def measure(network: Network) -> dict[str, Tensor]:
        return {
            name: score(predict(network, part.images, size), part.labels)["accuracy"] for name, part in examples.items()
        }

    return measure
