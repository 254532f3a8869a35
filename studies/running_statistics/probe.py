"""By which statistics a network is evaluated: the running ones, the batch's own, or those of the training images.

Recomputed statistics are means of batch means and unbiased batch variances over training images at the weights as
they are, as in Ioffe & Szegedy 2015, algorithm 2, with batches of training's size.
"""

import torch
from torch import Tensor

from pipeline.data.dataset import Examples, Split
from pipeline.network.metrics import predict, score
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population

IMAGES = 10_000  # training images for the recomputed statistics


def probe(population: Population, split: Split) -> Measure:
    """Measure on the validation images; every value is [members]."""
    size = population.train.batch_size
    few = split.train.images[:IMAGES]
    batches = [batch for batch in torch.split(few, size) if len(batch) == min(size, len(few))]

    def measure(network: Perceptron) -> dict[str, Tensor]:
        running = _accuracy(network, split.validation, size)
        if not network.norms:
            return {"running": running, "batch": running, "recomputed": running}
        with network.batch_statistics():
            by_batch = _accuracy(network, split.validation, size)
        lags = _lags(network, recomputed := statistics(network, batches))
        with network.restored_statistics():
            for buffer, value in zip(network.norms.buffers(), recomputed, strict=True):
                buffer.copy_(value)
            by_recomputed = _accuracy(network, split.validation, size)
        return {"running": running, "batch": by_batch, "recomputed": by_recomputed, **lags}

    return measure


def statistics(network: Perceptron, batches: list[Tensor]) -> list[Tensor]:
    """Return what the running statistics would be of these batches alone: mean and variance of every layer."""
    entering = "pre_activation" if network.before else "activation"
    sums: dict[str, list[Tensor]] = {}

    def observe(name: str, values: Tensor) -> None:
        if name.endswith(f".{entering}"):
            found = [values.mean(1), values.var(1)]
            sums[name] = [old + new for old, new in zip(sums[name], found, strict=True)] if name in sums else found

    with network.batch_statistics():
        for batch in batches:
            network(batch, observe)
    return [total / len(batches) for layer in sums.values() for total in layer]


def _lags(network: Perceptron, recomputed: list[Tensor]) -> dict[str, Tensor]:
    """How far the running statistics are from the recomputed ones, medians over all units.

    lag_mean: the distance of the means, in deviations. lag_deviation: |ln| of the ratio of the deviations. Medians,
    because a saturated unit has next to no deviation.
    """
    running = list(network.norms.buffers())
    means, spreads = [], []
    for at in range(0, len(running), 2):
        deviation = (recomputed[at + 1] + 1e-12).sqrt()
        means.append((running[at] - recomputed[at]).abs() / deviation)
        spreads.append(((running[at + 1] + 1e-12).sqrt() / deviation).log().abs())
    return {"lag_mean": torch.cat(means, 1).median(1).values, "lag_deviation": torch.cat(spreads, 1).median(1).values}


def _accuracy(network: Perceptron, examples: Examples, batch_size: int) -> Tensor:
    return score(predict(network, examples.images, batch_size), examples.labels)["accuracy"]
