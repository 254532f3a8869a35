"""The IDX format: what is written can be read, and every kind of damage is named."""

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data import idx
from pipeline.errors import UserError
from tools.sandbox import encode


def images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)


def labels(count: int) -> NDArray[np.uint8]:
    return (np.arange(count) % 10).astype(np.uint8)


def test_images_come_back_as_written() -> None:
    read = idx.parse_images(idx.encode_images(images(7)), "i")
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, images(7))


def test_labels_come_back_as_written() -> None:
    np.testing.assert_array_equal(
        idx.parse_labels(idx.encode_labels(labels(12)), "l"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    )


def test_encoding_is_big_endian_with_the_published_header() -> None:
    assert idx.encode_labels(np.array([7, 2], np.uint8)) == bytes.fromhex("00000801 00000002 07 02")
    header = bytes.fromhex("00000803 00000003 0000001c 0000001c")
    assert idx.encode_images(np.full((3, 28, 28), 9, np.uint8)) == header + b"\x09" * 2352


@pytest.mark.parametrize("array", [np.zeros((2, 28, 28), np.float32), np.zeros(784, np.uint8)])
def test_encoding_refuses_other_arrays(array: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="expected uint8 with 3 dimension"):
        idx.encode_images(array)


IMAGES = idx.encode_images(images(2))
LABELS = idx.encode_labels(labels(4))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "truncated: found 0 bytes, the header alone takes 16"),
        (IMAGES[:10], "truncated: found 10 bytes, the header alone takes 16"),
        (IMAGES[:-1], "truncated: expected 1584 bytes, found 1583"),
        (IMAGES + b"\0\0", "trailing bytes: expected 1584 bytes, found 1586"),
        (LABELS + b"\0" * 9, "wrong magic number: found 2049, a file of images starts with 2051"),
        (struct.pack(">4I", 2051, 1, 32, 32) + bytes(1024), "images of 32x32 pixels, expected 28x28"),
        (struct.pack(">4I", 2051, 0, 28, 28), "holds no images"),
    ],
)
def test_damaged_images(content: bytes, words: str) -> None:
    with pytest.raises(UserError) as caught:
        idx.parse_images(content, "damaged")
    assert str(caught.value) == f"damaged: {words}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LABELS[:7], "truncated: found 7 bytes, the header alone takes 8"),
        (LABELS[:-1], "truncated: expected 12 bytes, found 11"),
        (LABELS + b"\0", "trailing bytes: expected 12 bytes, found 13"),
        (IMAGES, "wrong magic number: found 2051, a file of labels starts with 2049"),
        (idx.encode_labels(np.array([3, 10, 1], np.uint8)), "label 10 at position 1, expected 0 to 9"),
        (struct.pack(">2I", 2049, 0), "holds no labels"),
    ],
)
def test_damaged_labels(content: bytes, words: str) -> None:
    with pytest.raises(UserError) as caught:
        idx.parse_labels(content, "damaged")
    assert str(caught.value) == f"damaged: {words}"


def test_a_set_is_parsed_by_name() -> None:
    contents = encode(5, 3)
    arrays = idx.parse_set(contents)
    assert tuple(arrays) == idx.FILES
    np.testing.assert_array_equal(arrays[idx.TRAIN_IMAGES], idx.parse_images(contents[idx.TRAIN_IMAGES], ""))
    np.testing.assert_array_equal(arrays[idx.TEST_LABELS], idx.parse_labels(contents[idx.TEST_LABELS], ""))


def test_a_set_lacks_a_file() -> None:
    three = encode(5, 3)
    del three["t10k-labels-idx1-ubyte"]
    with pytest.raises(UserError, match=r"^t10k-labels-idx1-ubyte: missing$"):
        idx.parse_set(three)


@pytest.mark.parametrize(("part", "count"), [("train", 5), ("t10k", 3)])
def test_counts_of_a_set_differ(part: str, count: int) -> None:
    damaged = encode(5, 3) | {f"{part}-labels-idx1-ubyte": idx.encode_labels(labels(4))}
    with pytest.raises(UserError) as caught:
        idx.parse_set(damaged)
    expected = f"{part}-labels-idx1-ubyte: 4 labels for the {count} images of {part}-images-idx3-ubyte"
    assert str(caught.value) == expected
