"""The images: exact pixels, disjoint splits, and an order that depends on seed and epoch alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.data import idx
from pipeline.data.dataset import Split, batch_order, check_batches
from pipeline.data.dataset import split as split_images
from pipeline.data.images import read
from pipeline.errors import UserError

CPU = torch.device("cpu")


def load(folder: Path, holdout: int) -> Split:
    return split_images(read("custom", folder), holdout, CPU)


def rows(images: Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in images}


def test_images_and_labels_are_those_of_the_files(idx_folder: Callable[..., Path]) -> None:
    folder = idx_folder(training=7, test=4)
    split = load(folder, 0)
    for part, prefix, count in ((split.train, "train", 7), (split.test, "t10k", 4)):
        pixels = read("custom", folder).arrays[f"{prefix}-images-idx3-ubyte"]
        assert part.images.dtype == torch.float32
        assert part.labels.dtype == torch.int64
        assert part.images.shape == (count, 784)
        assert len(part) == count
        np.testing.assert_array_equal(part.images.numpy(), pixels.reshape(count, 784) / np.float32(255))
        np.testing.assert_array_equal(part.labels.numpy(), read("custom", folder).arrays[f"{prefix}-labels-idx1-ubyte"])


def test_every_pixel_value_is_divided_exactly(idx_folder: Callable[..., Path]) -> None:
    folder = idx_folder()
    image = (np.arange(784) % 256).astype(np.uint8).reshape(1, 28, 28)
    (folder / idx.FILES[0]).write_bytes(idx.encode_images(image))
    (folder / idx.FILES[1]).write_bytes(idx.encode_labels(np.array([3], np.uint8)))
    pixels = load(folder, 0).train.images[0, :256].numpy()
    np.testing.assert_array_equal(pixels, np.array([value / 255 for value in range(256)], np.float32))
    assert pixels[0] == 0
    assert pixels[255] == 1


def test_without_a_holdout_validation_is_on_the_test_images(idx_folder: Callable[..., Path]) -> None:
    split = load(idx_folder(training=20, test=10), 0)
    assert split.validation is split.test
    assert len(split.train) == 20
    assert not rows(split.train.images) & rows(split.test.images)


@pytest.mark.parametrize("holdout", [1, 6, 19])
def test_a_holdout_is_disjoint_from_training_and_from_test(idx_folder: Callable[..., Path], holdout: int) -> None:
    folder = idx_folder(training=20, test=10)
    whole = load(folder, 0)
    split = load(folder, holdout)
    assert (len(split.train), len(split.validation), len(split.test)) == (20 - holdout, holdout, 10)
    train, validation, test = (rows(part.images) for part in (split.train, split.validation, split.test))
    assert (len(train), len(validation), len(test)) == (20 - holdout, holdout, 10)
    assert not train & validation
    assert not validation & test
    assert not train & test
    assert torch.equal(torch.cat([split.train.images, split.validation.images]), whole.train.images)
    assert torch.equal(torch.cat([split.train.labels, split.validation.labels]), whole.train.labels)
    assert torch.equal(split.test.images, whole.test.images)


@pytest.mark.parametrize("holdout", [20, 21])
def test_a_holdout_must_leave_something_to_train_on(idx_folder: Callable[..., Path], holdout: int) -> None:
    with pytest.raises(UserError) as caught:
        load(idx_folder(training=20), holdout)
    assert str(caught.value) == f"data.holdout = {holdout}: must be less than the 20 training images"


@pytest.mark.parametrize(
    ("count", "size", "others"),
    [(20, 19, (18, 20)), (20, 1, (2,)), (13, 4, (5,)), (13, 12, (11, 13)), (61, 60, (59, 61)), (5, 2, (3,))],
)
def test_a_batch_of_one_image_is_refused_with_sizes_that_do(
    idx_folder: Callable[..., Path], count: int, size: int, others: tuple[int, ...]
) -> None:
    split = load(idx_folder(training=count), 0)
    with pytest.raises(UserError) as caught:
        check_batches(split, size, 0)
    assert str(caught.value).endswith(f"sizes that do for {count} training images: {' or '.join(map(str, others))}")
    for other in others:
        check_batches(split, other, 0)


def test_a_single_training_image_is_refused(idx_folder: Callable[..., Path]) -> None:
    for size in (1, 2, 60):
        with pytest.raises(UserError, match=r"leaves a batch of a single image.* 1 training images: none does"):
            check_batches(load(idx_folder(training=1), 0), size, 0)


@pytest.mark.parametrize(
    ("size", "ghost", "batch"), [(20, 19, 20), (20, 3, 10), (20, 1, 20), (60, 29, 30), (10, 9, 10)]
)
def test_a_ghost_batch_of_a_single_image_is_refused(
    idx_folder: Callable[..., Path], size: int, ghost: int, batch: int
) -> None:
    split = load(idx_folder(training=30), 0)
    with pytest.raises(
        UserError, match=rf"^model.ghost_batch = {ghost}: leaves a single image of a batch of {batch}, "
    ):
        check_batches(split, size, ghost)
    for other in (0, 2, 4, 60):
        check_batches(split, size, other)


@pytest.mark.parametrize(("seed", "count", "epoch"), [(0, 1, 0), (0, 100, 0), (2**31 - 1, 257, 4), (7, 60000, 999)])
def test_an_order_is_a_permutation_and_repeats(seed: int, count: int, epoch: int) -> None:
    order = batch_order(seed, count, epoch)
    assert torch.equal(order.sort().values, torch.arange(count))
    assert torch.equal(order, batch_order(seed, count, epoch))


def test_orders_differ_between_seeds_and_epochs() -> None:
    pairs = [(seed, epoch) for seed in (*range(10), 2**31 - 1) for epoch in range(6)]
    assert len({tuple(batch_order(seed, 50, epoch).tolist()) for seed, epoch in pairs}) == len(pairs)


@pytest.mark.parametrize("seed", [0, 4, 2**31 - 1])
def test_an_order_does_not_draw_from_the_stream_of_the_weights(seed: int) -> None:
    weights = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
    assert not any(torch.equal(batch_order(seed, 50, epoch), weights) for epoch in range(20))


def test_an_order_leaves_the_global_random_states_alone() -> None:
    state, numpys = torch.get_rng_state(), np.random.get_state(legacy=True)
    batch_order(3, 10, 0)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_equal(np.random.get_state(legacy=True), numpys)
