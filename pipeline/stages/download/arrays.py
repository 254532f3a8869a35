"""A data set in NumPy arrays, such as Keras' mnist.npz, as the bytes of IDX files. Nothing is unpickled."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.idx import FILES, encode_images, encode_labels
from pipeline.errors import UserError
from pipeline.stages.download.content import LARGEST, read_bounded

EXPECTED = "x_train, y_train, x_test and y_test"
_NAMES = (("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels"))
_ROWS = ((784,), (28, 28), (28, 28, 1), (1, 28, 28))  # the shapes that an image may have


def names_in(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz file; none if it is not one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception:  # what is no archive, or a damaged one, makes zipfile raise nearly anything
        return []


def is_complete(path: Path) -> bool:
    """Return whether an .npz file holds the four arrays of a data set, by their names."""
    return any(set(names) <= set(names_in(path)) for names in _NAMES)


def read(path: Path, name: str) -> dict[str, bytes]:
    """Return the arrays of a complete .npz file as four IDX files, keyed by the names in `FILES`.

    Images are integers 0 to 255, [count, 28, 28] or [count, 784], and labels integers, [count].

    Raises:
        UserError: It is damaged, or an array is not of this kind. The text begins with `name`.
    """
    names = next(names for names in _NAMES if set(names) <= set(names_in(path)))
    contents: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for at, (file, array) in enumerate(zip(FILES, names, strict=True)):
            found = _array(archive, array, f"{name}: {array}")
            contents[file] = (_labels if at % 2 else _images)(found, f"{name}: {array}")
    return contents


def _array(archive: zipfile.ZipFile, member: str, name: str) -> NDArray[Any]:
    try:
        info = archive.getinfo(f"{member}.npy")
        if info.file_size > LARGEST:
            raise UserError(f"{name}: more than {LARGEST} bytes")
        with archive.open(info) as file:
            content = read_bounded(file, name)
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except UserError:
        raise
    except Exception as error:  # damaged ones make zipfile and NumPy raise nearly anything
        raise UserError(f"{name}: damaged, or not an array of numbers (pickled objects are never read)") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{name}: not an array")
    return array


def _images(array: NDArray[Any], name: str) -> bytes:
    if array.shape[1:] not in _ROWS:
        raise UserError(f"{name}: shape {array.shape}, expected (count, 28, 28) or (count, 784)")
    return encode_images(_bytes(array, name).reshape(-1, 28, 28))


def _labels(array: NDArray[Any], name: str) -> bytes:
    if array.ndim != 1 and array.shape[1:] != (1,):
        raise UserError(f"{name}: shape {array.shape}, expected (count,)")
    return encode_labels(_bytes(array, name).reshape(-1))


def _bytes(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return integers as bytes."""
    if array.dtype.kind not in "ui":
        raise UserError(f"{name}: {array.dtype}, expected integers from 0 to 255")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) <= 255:
        raise UserError(f"{name}: values from {array.min()} to {array.max()}, expected 0 to 255")
    return array.astype(np.uint8)
