"""What enters the last hidden layer's sigmoids (Ioffe & Szegedy 2015, section 4.1 and figure 1), and the accuracy.

Both are measured by the running statistics of Batch Normalization, as evaluation uses them, and by statistics
recomputed at the current weights from fixed training images: the running ones follow batches of 60 images, whose own
sampling noise moves whatever is seen through them.
"""

import torch
from torch import Tensor

from pipeline.data.dataset import Examples, Split
from pipeline.network.network import Network
from pipeline.network.normalisation import MOMENTUM
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population

PERCENTILES = (0.15, 0.5, 0.85)
IMAGES = 1000  # validation images over which the percentiles are taken
CLASSIFIED = 2000  # validation images on which accuracies are measured: few, so that measurements stay cheap
RECOMPUTED = 10_000  # training images for the recomputed statistics


def probe(_population: Population, split: Split) -> Measure:
    """Return a measurement of the input of the last activation functions and of the accuracy.

    Returns:
        A function from a network to measurements by both kinds of statistics, named after them, such as, of `running`:
        `running` [members, units, 3], the 15th, 50th and 85th percentile over images; `running_15`, `running_50` and
        `running_85` [members], those of the first unit; and `running_accuracy` [members]. The others are `recomputed`;
        without running statistics both are equal.
    """
    seen = Examples(split.validation.images[:CLASSIFIED], split.validation.labels[:CLASSIFIED])
    images = split.train.images[:RECOMPUTED]

    def measure(network: Network) -> dict[str, Tensor]:
        assert isinstance(network, Perceptron)
        running = recomputed = _look(network, seen)
        if buffers := list(network.norms.buffers()):
            with network.restored_statistics():
                for buffer, value in zip(buffers, statistics(network, images), strict=True):
                    buffer.copy_(value)
                recomputed = _look(network, seen)
        return {
            f"{kind}{name}": values
            for kind, measured in (("running", running), ("recomputed", recomputed))
            for name, values in measured.items()
        }

    return measure


def statistics(network: Perceptron, images: Tensor) -> list[Tensor]:
    """Recompute the statistics from images [count, 784] as one batch, each layer's input normalised by the layer below.

    Returns:
        The mean and the unbiased variance of every layer in turn, [members, units] each, as `network.norms.buffers()`
        has them.
    """
    buffers = list(network.norms.buffers())
    with network.batch_statistics():
        for buffer in buffers:
            buffer.zero_()  # so that the batch's share is all that the running statistics hold
        network(images)
        return [buffer / MOMENTUM for buffer in buffers]


def _look(network: Network, seen: Examples) -> dict[str, Tensor]:
    """Measure percentiles and accuracy, in evaluation mode."""
    tensors: dict[str, Tensor] = {}
    logits = network(seen.images, tensors.__setitem__)
    *_, entering = (tensor.name for tensor in network.hidden_tensors() if tensor.side == "input")
    by_unit = tensors[entering][:, :IMAGES].transpose(1, 2).contiguous()
    levels = torch.tensor(PERCENTILES, dtype=by_unit.dtype, device=by_unit.device)
    percentiles = by_unit.quantile(levels, dim=2).permute(1, 2, 0)
    of_first_unit = {f"_{round(100 * level)}": percentiles[:, 0, at] for at, level in enumerate(PERCENTILES)}
    right = logits.argmax(2) == seen.labels
    return {"": percentiles, **of_first_unit, "_accuracy": right.double().mean(1)}
