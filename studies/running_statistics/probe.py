"""Accuracy by the statistics of evaluation: the running ones, the batch's own, or those of the training images.

The latter are recomputed at the current weights: means of batch means and unbiased batch variances over training
images, in batches of the same size as in training (Ioffe & Szegedy 2015, algorithm 2).
"""

import torch
from torch import Tensor

from pipeline.data.dataset import Examples, Split
from pipeline.network.metrics import predict, score
from pipeline.network.network import Network
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population

IMAGES = 10_000  # training images for the recomputed statistics


def probe(population: Population, split: Split) -> Measure:
    """Return a measurement on the validation images.

    Returns:
        A function from a network to the accuracies `running`, `batch` and `recomputed` and, with Batch Normalization,
        the distances `lag_mean` and `lag_deviation` between running and recomputed statistics. Each is [members].
    """
    size = population.train.batch_size
    images = split.train.images[:IMAGES]
    batches = [batch for batch in torch.split(images, size) if len(batch) == min(size, len(images))]

    def measure(network: Network) -> dict[str, Tensor]:
        assert isinstance(network, Perceptron)
        running = _accuracy(network, split.validation, size)
        if not (buffers := list(network.norms.buffers())):
            return {"running": running, "batch": running, "recomputed": running}
        with network.batch_statistics():
            by_batch = _accuracy(network, split.validation, size)
        lags = _lags(network, recomputed := statistics(network, batches))
        with network.restored_statistics():
            for buffer, value in zip(buffers, recomputed, strict=True):
                buffer.copy_(value)
            by_recomputed = _accuracy(network, split.validation, size)
        return {"running": running, "batch": by_batch, "recomputed": by_recomputed, **lags}

    return measure


def statistics(network: Perceptron, batches: list[Tensor]) -> list[Tensor]:
    """Recompute the statistics from batches of images, each [batch, 784].

    Returns:
        The mean and the variance of every layer in turn, [members, units] each, as `network.norms.buffers()` has them.
    """
    entering = "pre_activation" if network.before else "activation"
    sums: dict[str, list[Tensor]] = {}

    def observe(name: str, values: Tensor) -> None:
        if name.endswith(f".{entering}"):
            batch = [values.mean(1), values.var(1)]
            sums[name] = [old + new for old, new in zip(sums[name], batch, strict=True)] if name in sums else batch

    with network.batch_statistics():
        for images in batches:
            network(images, observe)
    return [total / len(batches) for layer in sums.values() for total in layer]


def _lags(network: Perceptron, recomputed: list[Tensor]) -> dict[str, Tensor]:
    """Measure the distance between the running and the recomputed statistics, as medians over all units.

    They are medians because saturated units have almost no deviation.

    Returns:
        `lag_mean`, the distance between the means in standard deviations, and `lag_deviation`, the absolute logarithm
        of the ratio of the standard deviations. Each is [members].
    """
    running = list(network.norms.buffers())
    of_means, of_deviations = [], []
    for at in range(0, len(running), 2):
        deviation = (recomputed[at + 1] + 1e-12).sqrt()
        of_means.append((running[at] - recomputed[at]).abs() / deviation)
        of_deviations.append(((running[at + 1] + 1e-12).sqrt() / deviation).log().abs())
    medians = [torch.cat(distances, 1).median(1).values for distances in (of_means, of_deviations)]
    return dict(zip(("lag_mean", "lag_deviation"), medians, strict=True))


def _accuracy(network: Perceptron, examples: Examples, batch_size: int) -> Tensor:
    return score(predict(network, examples.images, batch_size), examples.labels)["accuracy"]
