"""The accuracy by running statistics, as evaluation uses them, and by statistics recomputed from training images.

The running ones follow the batches of training, or parts of them where `model.ghost_batch` is set; the noise of a few
images is in them.
"""

import torch
from torch import Tensor

from pipeline.data.dataset import Split
from pipeline.network.metrics import predict, score
from pipeline.network.network import Network
from pipeline.network.normalisation import MOMENTUM, BatchNorm
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population

RECOMPUTED = 10_000  # training images for the recomputed statistics


def probe(population: Population, split: Split) -> Measure:
    """Return a measurement on the held-out and on the test images.

    Returns:
        A function from a network to its accuracies [members]: `running` and `recomputed` on the held-out images,
        `test_running` and `test_recomputed` on the test images. Without running statistics both are equal.
    """
    size = population.train.validation_batch_size
    examples = {"": split.validation, "test_": split.test}

    def accuracies(network: Network, kind: str) -> dict[str, Tensor]:
        return {
            f"{name}{kind}": score(predict(network, part.images, size), part.labels)["accuracy"]
            for name, part in examples.items()
        }

    def measure(network: Network) -> dict[str, Tensor]:
        assert isinstance(network, Perceptron)
        running = accuracies(network, "running")
        if not any(isinstance(norm, BatchNorm) for norm in network.norms):
            return running | {name.replace("running", "recomputed"): values for name, values in running.items()}
        with network.restored_statistics():
            recomputed = statistics(network, split.train.images[:RECOMPUTED])
            for buffer, values in zip(network.norms.buffers(), recomputed, strict=True):
                buffer.copy_(values)
            return running | accuracies(network, "recomputed")

    return measure


def statistics(network: Perceptron, images: Tensor) -> list[Tensor]:
    """Recompute the statistics from images [count, 784] as one batch, each layer's input normalised by the layer below.

    Returns:
        The mean and the unbiased variance of every layer in turn, [members, units] each, as `network.norms.buffers()`
        has them.
    """
    norms = [norm for norm in network.norms if isinstance(norm, BatchNorm)]
    ghosts = [norm.ghost_batch for norm in norms]
    buffers = list(network.norms.buffers())
    with network.batch_statistics():
        for buffer in buffers:
            buffer.zero_()  # so that the batch's share is all that the running statistics hold
        for norm in norms:
            norm.ghost_batch = 0  # which would cut the images into many batches
        try:
            with torch.no_grad():
                network(images)
        finally:
            for norm, ghost in zip(norms, ghosts, strict=True):
                norm.ghost_batch = ghost
        return [buffer / MOMENTUM for buffer in buffers]
