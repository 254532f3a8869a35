"""A data set in two tables of comma-separated values, such as Kaggle's, as the bytes of IDX files."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.idx import FILES, encode_images, encode_labels
from pipeline.errors import UserError
from pipeline.stages.download import content

_PIXELS = 784
_LABELS = ("label", "class", "target", "y")  # what a header calls the column of labels
_LONGEST = 100_000  # bytes of a row
_BOM = b"\xef\xbb\xbf"
EXPECTED = "two tables with labels, such as mnist_train.csv and mnist_test.csv"


def read(train: Path, test: Path) -> dict[str, bytes]:
    """Return two tables as four IDX files, keyed by the names in `FILES`.

    A row is a label and 784 pixels, 0 to 255; a first row of names is skipped.

    Raises:
        UserError: A table cannot be read, has no labels or not this form. The text begins with its name.
    """
    files = []
    for path in (train, test):
        rows = _rows(content.read(path, path.name).removeprefix(_BOM), path.name)
        files += [encode_images(rows[:, 1:].reshape(-1, 28, 28)), encode_labels(rows[:, 0])]
    return dict(zip(FILES, files, strict=True))


def _rows(text: bytes, name: str) -> NDArray[np.uint8]:
    """Return the rows [count, 785] of a table."""
    first = next(_lines(text, name), b"")
    fields = [field.strip().strip('"').lower() for field in first.decode("utf-8", "replace").split(",")]
    header = fields[0] in _LABELS or not any(map(_is_number, fields))
    _check_columns(fields, header, name)
    if not (text[len(first) :] if header else text).strip():
        raise UserError(f"{name}: holds no rows")
    try:
        rows: NDArray[np.uint8] = np.loadtxt(
            _lines(text, name), np.uint8, delimiter=",", comments=None, quotechar='"', skiprows=int(header), ndmin=2
        )
    except (ValueError, OverflowError) as error:
        reason = str(error).partition("; use")[0].rstrip(".")  # `usecols`, which nobody here has called
        raise UserError(f"{name}: {reason}; expected integers from 0 to 255") from error
    _check_labels(rows, name)
    return rows


def _lines(text: bytes, name: str) -> Iterator[bytes]:
    """Yield the rows as text, none so long that it would fill the memory."""
    for line in io.BytesIO(text):
        if len(line) > _LONGEST:
            raise UserError(f"{name}: a row of more than {_LONGEST} bytes, expected a label and 784 pixels")
        yield line


def _check_columns(fields: list[str], header: bool, name: str) -> None:
    """Check that the label comes first and that the pixels of an image follow."""
    label = next((at for at, field in enumerate(fields, start=1) if header and field in _LABELS), 0)
    if len(fields) == _PIXELS and not label:
        raise UserError(
            f"{name}: 784 columns, so pixels without labels, which cannot serve as training or test images; "
            f"expected {EXPECTED}"
        )
    if len(fields) != _PIXELS + 1:
        raise UserError(f"{name}: {len(fields)} columns, expected 785 with commas between: the label, then 784 pixels")
    if label > 1:
        raise UserError(f"{name}: the label is column {label}, expected first")


def _check_labels(rows: NDArray[np.uint8], name: str) -> None:
    """Check that the last column does not look more like labels than the first: it would be read as pixels."""
    first, last = (len(np.unique(rows[:, at])) for at in (0, -1))
    if rows[:, -1].max() <= 9 and last > first:
        raise UserError(f"{name}: the label seems to be column {_PIXELS + 1}, expected first")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
