"""The images as tensors, split into training, validation and test images."""

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
    """Images with their labels.

    Attributes:
        images: Pixels [count, 784], float32 in [0, 1].
        labels: Classes [count], int64 in 0..9.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Split:
    """The three sets of images. Training is disjoint from both others; validation may be the test set itself."""

    train: Examples
    validation: Examples
    test: Examples


def split(files: ImageFiles, holdout: int, device: torch.device) -> Split:
    """Scale the images to [0, 1], move them to `device`, and split them.

    Args:
        files: The verified images.
        holdout: How many of the last training images to hold out for validation; for MNIST, 10,000 give the customary
            split of 50,000 and 10,000. With 0 the test images serve for validation, as in the lab.
        device: Where the tensors are to be.

    Raises:
        UserError: `holdout` leaves no image to train on.
    """
    train = _examples(files, TRAIN_IMAGES, TRAIN_LABELS, device)
    test = _examples(files, TEST_IMAGES, TEST_LABELS, device)
    if holdout >= len(train):
        raise UserError(f"data.holdout = {holdout}: must be less than the {len(train)} training images")
    if holdout == 0:
        return Split(train, test, test)
    count = len(train) - holdout
    return Split(
        Examples(train.images[:count], train.labels[:count]),
        Examples(train.images[count:], train.labels[count:]),
        test,
    )


def check_batches(split: Split, batch_size: int, ghost_batch: int) -> None:
    """Check that no batch holds a single image, whose variance Batch Normalization could not compute.

    Args:
        split: The images.
        batch_size: How many of them a batch holds, but for the last.
        ghost_batch: How many images of a batch are normalised together, but for the last; 0: the batch.

    Raises:
        UserError: Some batch, or some part of one that is normalised, holds a single image.
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
    for size in (min(batch_size, count), count % batch_size):
        if ghost_batch and size % ghost_batch == 1 % ghost_batch:
            raise UserError(
                f"model.ghost_batch = {ghost_batch}: leaves a single image of a batch of {size}, which Batch "
                "Normalization cannot normalise"
            )


def batch_order(seed: int, count: int, epoch: int) -> Tensor:
    """Return the order in which a seed's training sees the images in one epoch, the same for both variants.

    The generator is NumPy's, which mixes the seed and the epoch. PyTorch's uses only 32 bits of its seed, so that
    combinations of the two numbers would collide.

    Args:
        seed: The member's seed.
        count: The number of training images.
        epoch: The epoch, from 0.

    Returns:
        A permutation [count], int64.
    """
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(count))


def _examples(files: ImageFiles, images: str, labels: str, device: torch.device) -> Examples:
    pixels = files.arrays[images]
    scaled = torch.from_numpy(pixels.reshape(len(pixels), PIXELS)).to(device).float().div_(255)
    return Examples(scaled, torch.from_numpy(files.arrays[labels]).to(device).long())
