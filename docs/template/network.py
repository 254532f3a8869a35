"""The network: two convolutions, each with a pooling, then one linear layer."""

from pathlib import Path

import torch
from torch import nn

POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def build(pooling: str) -> nn.Sequential:
    """Build an untrained network: images [batch, 1, 28, 28] to logits [batch, 10]."""
    pool = POOLINGS[pooling]
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), pool(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), pool(2)),
        *(nn.Flatten(), nn.Linear(16 * 7 * 7, 10)),
    )


@torch.no_grad()
def accuracy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the fraction of images [count, 1, 28, 28] that a network puts into the right class."""
    return float((network(images).argmax(1) == labels).double().mean())


def weights_of(pooling: str, seed: int) -> Path:
    """Return the file that holds the weights of one training."""
    return Path("runs") / pooling / f"seed{seed}.safetensors"
