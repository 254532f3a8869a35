"""What the members predict, and how good that is."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pipeline.network.perceptron import Observer, Perceptron


def member_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy [members] of logits [members, batch, classes] and labels [members, batch]."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).mean(1)


def predict(network: Perceptron, images: Tensor, batch_size: int, observe: Observer | None = None) -> Tensor:
    """Logits [members, count, classes] of images [count, 784], in batches of at most `batch_size`."""
    return torch.cat([network(batch, observe) for batch in torch.split(images, batch_size)], dim=1)


def score(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """`loss` and `accuracy` [members] of logits [members, count, classes] for labels [count]."""
    shared = labels.expand(len(logits), -1)
    return {
        "loss": member_losses(logits, shared),
        "accuracy": (logits.argmax(2) == shared).double().mean(1),
    }
