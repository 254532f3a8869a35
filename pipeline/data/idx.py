"""The IDX file format, in which MNIST and its kin are published.

Numbers are big-endian. A file of images holds the magic number 2051, count, rows and columns, each 4 bytes,
then one byte per pixel; a file of labels holds 2049 and count, then one byte per label.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""The four files of a data set: images and labels for training, images and labels for test."""

_IMAGES, _LABELS = 2051, 2049
_SIDE = 28
_CLASSES = 10


def _parse(content: bytes, name: str, magic: int, dimensions: int) -> NDArray[np.uint8]:
    """The array in `content`, after its magic number and its length have been checked."""
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise UserError(f"{name}: truncated: found {len(content)} bytes, the header alone takes {start}")
    found, *shape = struct.unpack(f">{1 + dimensions}I", content[:start])
    if found != magic:
        kind = "images" if magic == _IMAGES else "labels"
        raise UserError(f"{name}: wrong magic number: found {found}, a file of {kind} starts with {magic}")
    if dimensions == 3 and shape[1:] != [_SIDE, _SIDE]:
        raise UserError(f"{name}: images of {shape[1]}x{shape[2]} pixels, expected {_SIDE}x{_SIDE}")
    size = start + shape[0] * (_SIDE * _SIDE if dimensions == 3 else 1)
    if len(content) != size:
        problem = "truncated" if len(content) < size else "trailing bytes"
        raise UserError(f"{name}: {problem}: expected {size} bytes, found {len(content)}")
    if shape[0] == 0:
        raise UserError(f"{name}: holds no {'images' if magic == _IMAGES else 'labels'}")
    # A copy, because frombuffer's array is read-only and torch warns of such.
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def parse_images(content: bytes, name: str) -> NDArray[np.uint8]:
    """The images in the bytes of an IDX file: [count, 28, 28], one byte per pixel, 0 to 255.

    Raises `UserError`, its text opened by `name`, when the magic number is wrong, bytes are missing or left
    over, the images are not 28x28, or there are none.
    """
    return _parse(content, name, _IMAGES, 3)


def parse_labels(content: bytes, name: str) -> NDArray[np.uint8]:
    """The labels in the bytes of an IDX file: [count], 0 to 9.

    Raises `UserError`, its text opened by `name`, when the magic number is wrong, bytes are missing or left
    over, a label is over 9, or there are none.
    """
    labels = _parse(content, name, _LABELS, 1)
    if (highest := int(labels.max())) >= _CLASSES:
        raise UserError(f"{name}: label {highest} at position {int(labels.argmax())}, expected 0 to {_CLASSES - 1}")
    return labels


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def read_images(path: Path) -> NDArray[np.uint8]:
    """The images in the IDX file at `path`: [count, 28, 28], 0 to 255.

    Raises `UserError` when the file cannot be read, and as `parse_images` does.
    """
    return parse_images(_read(path), str(path))


def read_labels(path: Path) -> NDArray[np.uint8]:
    """The labels in the IDX file at `path`: [count], 0 to 9.

    Raises `UserError` when the file cannot be read, and as `parse_labels` does.
    """
    return parse_labels(_read(path), str(path))


def _encode(array: NDArray[np.uint8], magic: int, dimensions: int) -> bytes:
    if array.dtype != np.uint8 or array.ndim != dimensions:
        raise ValueError(f"expected uint8 with {dimensions} dimension(s), got {array.dtype} {array.shape}")
    return struct.pack(f">{1 + dimensions}I", magic, *array.shape) + array.tobytes()


def encode_images(array: NDArray[np.uint8]) -> bytes:
    """An IDX file of the images [count, rows, columns]; `ValueError` for another dtype or rank."""
    return _encode(array, _IMAGES, 3)


def encode_labels(array: NDArray[np.uint8]) -> bytes:
    """An IDX file of the labels [count]; `ValueError` for another dtype or rank."""
    return _encode(array, _LABELS, 1)


def check_set(contents: Mapping[str, bytes]) -> None:
    """Check the bytes of the four files, keyed by their names in `FILES`.

    Raises `UserError`, naming the file, when one is missing or does not parse, or when there are not as many
    labels as images.
    """
    for name in FILES:
        if name not in contents:
            raise UserError(f"{name}: missing")
    for images, labels in (FILES[:2], FILES[2:]):
        pictures = len(parse_images(contents[images], images))
        answers = len(parse_labels(contents[labels], labels))
        if pictures != answers:
            raise UserError(f"{labels}: {answers} labels for the {pictures} images of {images}")
