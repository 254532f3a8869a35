"""The IDX file format, in which MNIST and its kin are published.

Numbers are big-endian. A file of images holds the magic number 2051, count, rows and columns, each 4 bytes,
then one byte per pixel; a file of labels holds 2049 and count, then one byte per label.
"""

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
"""The four files of a data set."""

_IMAGES, _LABELS = 2051, 2049
_SIDE = 28
_CLASSES = 10


def parse_images(content: bytes, name: str) -> NDArray[np.uint8]:
    """Parse the bytes of an IDX file of images: [count, 28, 28], one byte per pixel, 0 to 255.

    Raises:
        UserError: The magic number is wrong, bytes are missing or left over, the images are not 28×28, or there are
            none. The text begins with `name`.
    """
    return _parse(content, name, _IMAGES, 3)


def parse_labels(content: bytes, name: str) -> NDArray[np.uint8]:
    """Parse the bytes of an IDX file of labels: [count], 0 to 9.

    Raises:
        UserError: The magic number is wrong, bytes are missing or left over, a label is over 9, or there are none.
            The text begins with `name`.
    """
    labels = _parse(content, name, _LABELS, 1)
    if (highest := int(labels.max())) >= _CLASSES:
        raise UserError(f"{name}: label {highest} at position {int(labels.argmax())}, expected 0 to {_CLASSES - 1}")
    return labels


def parse_set(contents: Mapping[str, bytes]) -> dict[str, NDArray[np.uint8]]:
    """Parse the bytes of the four files of a data set; both are keyed by the names in `FILES`.

    Raises:
        UserError: One is missing or does not parse, or there are not as many labels as images. Names the file.
    """
    arrays: dict[str, NDArray[np.uint8]] = {}
    for name in FILES:
        if name not in contents:
            raise UserError(f"{name}: missing")
        parse = parse_images if name in (TRAIN_IMAGES, TEST_IMAGES) else parse_labels
        arrays[name] = parse(contents[name], name)
    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        if len(arrays[images]) != len(arrays[labels]):
            raise UserError(f"{labels}: {len(arrays[labels])} labels for the {len(arrays[images])} images of {images}")
    return arrays


def encode_images(array: NDArray[np.uint8]) -> bytes:
    """Return an IDX file of the images [count, rows, columns].

    Raises:
        ValueError: The array has another dtype or rank.
    """
    return _encode(array, _IMAGES, 3)


def encode_labels(array: NDArray[np.uint8]) -> bytes:
    """Return an IDX file of the labels [count].

    Raises:
        ValueError: The array has another dtype or rank.
    """
    return _encode(array, _LABELS, 1)


def _parse(content: bytes, name: str, magic: int, dimensions: int) -> NDArray[np.uint8]:
    """Return the array in `content`, after checking its magic number and its length."""
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise UserError(f"{name}: truncated: found {len(content)} bytes, the header alone takes {start}")
    number, *shape = struct.unpack(f">{1 + dimensions}I", content[:start])
    kind = "images" if magic == _IMAGES else "labels"
    if number != magic:
        raise UserError(f"{name}: wrong magic number: found {number}, a file of {kind} starts with {magic}")
    if dimensions == 3 and shape[1:] != [_SIDE, _SIDE]:
        raise UserError(f"{name}: images of {shape[1]}x{shape[2]} pixels, expected {_SIDE}x{_SIDE}")
    size = start + shape[0] * (_SIDE * _SIDE if dimensions == 3 else 1)
    if len(content) != size:
        problem = "truncated" if len(content) < size else "trailing bytes"
        raise UserError(f"{name}: {problem}: expected {size} bytes, found {len(content)}")
    if shape[0] == 0:
        raise UserError(f"{name}: holds no {kind}")
    # A copy, because frombuffer's array is read-only and torch warns of such.
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _encode(array: NDArray[np.uint8], magic: int, dimensions: int) -> bytes:
    if array.dtype != np.uint8 or array.ndim != dimensions:
        raise ValueError(f"expected uint8 with {dimensions} dimension(s), got {array.dtype} {array.shape}")
    return struct.pack(f">{1 + dimensions}I", magic, *array.shape) + array.tobytes()
