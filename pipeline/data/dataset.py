"""The images as tensors, and the only place that knows which of them train, validate and test."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.data import idx
from pipeline.errors import UserError

CLASSES = 10
PIXELS = 28 * 28


@dataclass(frozen=True)
class Examples:
    """Images [count, 784], float32 in [0, 1], and their labels [count], int64 in 0..9."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Split:
    """Disjoint training and test images; validation is held out of training, or is the test images."""

    train: Examples
    validation: Examples
    test: Examples


def load(directory: Path, holdout: int, device: torch.device) -> Split:
    """Read the four IDX files in `directory` onto `device`.

    The last `holdout` training images become the validation images (for MNIST, 10,000 give the customary
    50,000 / 10,000 split); with 0, validation is on the test images, as in the lab.

    Raises:
        UserError: a file is missing or damaged, or `holdout` leaves nothing to train on.
    """
    train, test = (_read(directory, name, device) for name in ("train", "t10k"))
    if holdout >= len(train):
        raise UserError(f"data.holdout = {holdout}: must be less than the {len(train)} training images")
    if holdout == 0:
        return Split(train, test, test)
    kept = len(train) - holdout
    return Split(
        Examples(train.images[:kept], train.labels[:kept]),
        Examples(train.images[kept:], train.labels[kept:]),
        test,
    )


def check_batches(split: Split, batch_size: int) -> None:
    """Check that no batch holds a single image, which Batch Normalization could not normalise.

    Raises:
        UserError: one does.
    """
    if batch_size == 1 or len(split.train) % batch_size == 1:
        raise UserError(
            f"train.batch_size = {batch_size}: leaves a batch of a single image, which Batch Normalization cannot "
            "normalise; choose another size"
        )


def batch_order(seed: int, count: int, epoch: int) -> Tensor:
    """The order [count] in which a seed's training sees the images in one epoch, whatever the variant.

    NumPy's generator mixes seed and epoch; PyTorch's uses 32 bits of its seed, so that sums would collide.
    """
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(count))


def _read(directory: Path, name: str, device: torch.device) -> Examples:
    pixels = idx.read_images(directory / f"{name}-images-idx3-ubyte")
    labels = idx.read_labels(directory / f"{name}-labels-idx1-ubyte")
    if len(pixels) != len(labels):
        raise UserError(f"{directory}: {len(pixels)} {name} images but {len(labels)} labels")
    images = torch.from_numpy(pixels.reshape(len(pixels), PIXELS)).to(device).float().div_(255)
    return Examples(images, torch.from_numpy(labels).to(device).long())
