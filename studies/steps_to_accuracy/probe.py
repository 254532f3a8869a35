"""The accuracy on the held-out images, within epochs."""

from torch import Tensor

from pipeline.data.dataset import Split
from pipeline.network.metrics import predict, score
from pipeline.network.network import Network
from pipeline.training.measure import Measure
from pipeline.training.population import Population


def probe(population: Population, split: Split) -> Measure:
    """Return a function from a network to its `accuracy` [members] on the validation images, by running statistics."""
    size = population.train.validation_batch_size

    def measure(network: Network) -> dict[str, Tensor]:
        logits = predict(network, split.validation.images, size)
        return {"accuracy": score(logits, split.validation.labels)["accuracy"]}

    return measure
