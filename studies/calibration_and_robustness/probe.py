"""Likelihood, calibration and robustness by running, batch and recomputed statistics.

On all test images: the negative log-likelihood; the expected calibration error over 15 bins (Guo et al. 2017, section
2); and both after division of the logits by a temperature that the held-out images choose (section 4.2). On the first
test images, as many as a batch of training has: the accuracy as they are, with noise, moved, with less contrast, and
under attack within an L∞ distance, by one step along the gradient's sign (FGSM, Goodfellow et al. 2015) or by ten with
a random start (PGD, Madry et al. 2018). An attack knows the statistics that it is met with.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.data.dataset import Examples, Split
from pipeline.network.metrics import member_losses, predict, score
from pipeline.network.network import Network
from pipeline.network.normalisation import MOMENTUM
from pipeline.network.perceptron import Perceptron
from pipeline.training.measure import Measure
from pipeline.training.population import Population

BINS = 15  # of confidences
TEMPERATURES = torch.logspace(-1, 1, 201, dtype=torch.float64)
RECOMPUTED = 10_000  # training images for the recomputed statistics
SIDE = 28  # pixels
DEVIATION = 0.3  # of the noise
MOVED = 2  # pixels to the right and downwards
CONTRAST = 0.5  # what pixels are multiplied by
DISTANCE = 0.1  # of attacks
PGD_STEPS, PGD_STEP = 10, 0.025


def probe(population: Population, split: Split) -> Measure:
    """Return a measurement on the test images; the held-out ones choose temperatures.

    Returns:
        A function from a network to measurements [members] by each kind of statistics, named after it, such as
        `running_nll`. Without running statistics all kinds are equal.
    """
    size = population.train.batch_size
    views = _views(split.test.images[:size])

    def look(network: Network) -> dict[str, Tensor]:
        held_out = predict(network, split.validation.images, size)
        logits = predict(network, split.test.images, size)
        chosen = temperature(held_out, split.validation.labels)
        scaled = logits / chosen[:, None, None]
        labels = split.test.labels
        seen = Examples(split.test.images[:size], labels[:size])
        accuracies = {name: score(network(images), seen.labels)["accuracy"] for name, images in views.items()}
        for name, attacked in (("fgsm", fgsm(network, seen)), ("pgd", pgd(network, seen))):
            accuracies[name] = score(network(attacked), seen.labels)["accuracy"]
        return {
            "accuracy": score(logits, labels)["accuracy"],
            "nll": score(logits, labels)["loss"],
            "ece": calibration_error(logits, labels),
            "temperature": chosen,
            "scaled_nll": score(scaled.float(), labels)["loss"],
            "scaled_ece": calibration_error(scaled, labels),
            **accuracies,
        }

    def measure(network: Network) -> dict[str, Tensor]:
        assert isinstance(network, Perceptron)
        by_kind = {kind: look(network) for kind in _kinds(network, split.train.images[:RECOMPUTED])}
        seen = {kind: by_kind.get(kind, by_kind["running"]) for kind in ("running", "batch", "recomputed")}
        return {f"{kind}_{name}": values for kind, found in seen.items() for name, values in found.items()}

    return measure


def temperature(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the temperature [members] with the least negative log-likelihood, of 201 from 0.1 to 10.

    Args:
        logits: [members, images, classes].
        labels: [images].
    """
    temperatures = TEMPERATURES.to(logits.device)
    best = []
    for member in logits.double():
        chosen = member.gather(1, labels[:, None]).squeeze(1)
        losses = torch.stack(
            [torch.logsumexp(member / value, dim=1).mean() - chosen.mean() / value for value in temperatures]
        )
        best.append(temperatures[losses.argmin()])
    return torch.stack(best)


def calibration_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the expected calibration error [members]: Σ |right answers - confidences| of each bin, over all images.

    The confidence is the greatest probability, and the bins are of equal width (Guo et al. 2017, equation 3).

    Args:
        logits: [members, images, classes].
        labels: [images].
    """
    errors = []
    for member in logits.double():
        confidence, answer = torch.softmax(member, dim=1).max(1)
        bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
        gaps = confidence.new_zeros(BINS).index_add(0, bins, (answer == labels).double() - confidence)
        errors.append(gaps.abs().sum() / len(labels))
    return torch.stack(errors)


def fgsm(network: Network, examples: Examples) -> Tensor:
    """Return each member's own images [members, images, 784], a step of `DISTANCE` up the gradient's sign."""
    members = next(network.parameters()).shape[0]
    images = examples.images.expand(members, -1, -1)
    return (images + DISTANCE * _sign(network, images, examples.labels)).clamp(0, 1)


def pgd(network: Network, examples: Examples) -> Tensor:
    """Return each member's own images [members, images, 784] after steps that stay within `DISTANCE`."""
    members = next(network.parameters()).shape[0]
    start = torch.rand(examples.images.shape, generator=torch.Generator().manual_seed(0)).to(examples.images)
    images = (examples.images + DISTANCE * (2 * start - 1)).clamp(0, 1).expand(members, -1, -1)
    for _ in range(PGD_STEPS):
        moved = images + PGD_STEP * _sign(network, images, examples.labels) - examples.images
        images = (examples.images + moved.clamp(-DISTANCE, DISTANCE)).clamp(0, 1)
    return images


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


def _kinds(network: Perceptron, images: Tensor) -> Iterator[str]:
    """Yield the kinds of statistics, while the network normalises by them; `running` alone where it has none."""
    yield "running"
    if not (buffers := list(network.norms.buffers())):
        return
    with network.batch_statistics():
        yield "batch"
    with network.restored_statistics():
        for buffer, values in zip(buffers, statistics(network, images), strict=True):
            buffer.copy_(values)
        yield "recomputed"


def _sign(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sign of the loss's gradient by the images [members, images, 784].

    The loss is in float64: in float32 the error of the right class is 0 once its probability rounds to 1.
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        loss = member_losses(network(images).double(), labels.expand(len(images), -1)).sum()
        (gradient,) = torch.autograd.grad(loss, [images])
    return gradient.sign()


def _views(images: Tensor) -> dict[str, Tensor]:
    """Return images [count, 784] as they are and in their changed forms, by name."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images)
    square = images.view(-1, SIDE, SIDE)
    moved = torch.zeros_like(square)
    moved[:, MOVED:, MOVED:] = square[:, :-MOVED, :-MOVED]
    return {
        "clean": images,
        "noise": (images + DEVIATION * noise).clamp(0, 1),
        "moved": moved.flatten(1),
        "contrast": CONTRAST * images,
    }
