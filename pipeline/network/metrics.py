"""The predictions of all members at once, with their losses and accuracies."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pipeline.network.network import Network, Observer


def member_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of each member.

    Args:
        logits: [members, batch, classes].
        labels: [members, batch], int64.

    Returns:
        Losses [members], in nats.
    """
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).mean(1)


def predict(network: Network, images: Tensor, batch_size: int, observe: Observer | None = None) -> Tensor:
    """Compute logits batch by batch, which bounds the memory needed.

    Args:
        network: The members.
        images: [count, 784].
        batch_size: The most images in a forward pass.
        observe: Receives the hidden tensors of each batch, as in `Network.forward`.

    Returns:
        Logits [members, count, classes].
    """
    return torch.cat([network(batch, observe) for batch in torch.split(images, batch_size)], dim=1)


def score(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Compute each member's mean cross-entropy and accuracy.

    Args:
        logits: [members, count, classes].
        labels: [count], shared by all members.

    Returns:
        `loss` [members] in nats, and `accuracy` [members], a fraction in float64.
    """
    shared = labels.expand(len(logits), -1)
    return {
        "loss": member_losses(logits, shared),
        "accuracy": (logits.argmax(2) == shared).double().mean(1),
    }
