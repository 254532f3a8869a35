"""The images as tensors, and the only place that knows which of them train, validate and test."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from pipeline.data.images import ImageFiles
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


def split(files: ImageFiles, holdout: int, device: torch.device) -> Split:
    """Put the images of a data set onto `device`, those that train apart from those that validate and test.

    The last `holdout` training images become the validation images (for MNIST, 10,000 give the customary
    50,000 / 10,000 split); with 0, validation is on the test images, as in the lab.

    Raises:
        UserError: `holdout` leaves nothing to train on.
    """
    train = _examples(files, TRAIN_IMAGES, TRAIN_LABELS, device)
    test = _examples(files, TEST_IMAGES, TEST_LABELS, device)
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
    count = len(split.train)
    if batch_size == 1 or count % batch_size == 1:
        near = (*range(batch_size - 1, 1, -1), None), (*range(batch_size + 1, count + 2), None)
        others = [next(size for size in sizes if size is None or count % size != 1) for sizes in near]
        advice = " or ".join(str(size) for size in others if size) or "none does for so few images"
        raise UserError(
            f"train.batch_size = {batch_size}: leaves a batch of a single image, which Batch Normalization cannot "
            f"normalise; sizes that do for {count} training images: {advice}"
        )


def batch_order(seed: int, count: int, epoch: int) -> Tensor:
    """The order [count] in which a seed's training sees the images in one epoch, whatever the variant.

    NumPy's generator mixes seed and epoch; PyTorch's uses 32 bits of its seed, so that sums would collide.
    """
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(count))


def _examples(files: ImageFiles, images: str, labels: str, device: torch.device) -> Examples:
    pixels = files.arrays[images]
    scaled = torch.from_numpy(pixels.reshape(len(pixels), PIXELS)).to(device).float().div_(255)
    return Examples(scaled, torch.from_numpy(files.arrays[labels]).to(device).long())
