"""The data sets that others have published: how each is told from the others, and the digest of four files.

MNIST must match the SHA-256 of its original files. Fashion-MNIST and Kuzushiji-MNIST are checked for their
structure, their counts and the mean of their pixels, which tells them apart; images of one's own for their
structure alone.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pipeline.data.idx import FILES, check_set, parse_images
from pipeline.errors import UserError

_MNIST = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_COUNTS = (60_000, 60_000, 10_000, 10_000)
# Mean of the training images' pixels over 255: 0.286 and 0.19; MNIST's is 0.131.
_MEANS = {"fashion_mnist": (0.25, 0.32), "kmnist": (0.16, 0.22)}


def check(dataset: str, contents: Mapping[str, bytes]) -> None:
    """Raise `UserError`, naming the file, unless `contents` are the four files of `dataset`."""
    check_set(contents)
    if dataset == "custom":
        return
    advice = "images of one's own need `data.dataset: custom`"
    for name, sha256, count in zip(FILES, _MNIST, _COUNTS, strict=True):
        if dataset == "mnist" and hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise UserError(f"{name}: not MNIST's by its SHA-256 ({advice})")
        if int.from_bytes(contents[name][4:8], "big") != count:
            raise UserError(f"{name}: not {dataset}'s, which holds {count} ({advice})")
    if dataset in _MEANS:
        low, high = _MEANS[dataset]
        mean = float(parse_images(contents[FILES[0]], FILES[0]).mean()) / 255
        if not low < mean < high:
            raise UserError(f"{FILES[0]}: not {dataset}'s by its mean pixel, {mean:.3f} ({advice})")


def verify(dataset: str, destination: Path) -> None:
    """Check the four files in `destination` anew; images of one's own are checked when they are read.

    Raises `UserError`, naming the file, when one is missing, damaged or not the data set's.
    """
    if dataset == "custom":
        return
    try:
        check(dataset, {name: (destination / name).read_bytes() for name in FILES})
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}; run `dvc repro`") from None
    except UserError as error:
        raise UserError(f"{destination}: {error}; run `dvc repro` or `python -m pipeline download`") from None


def digest(destination: Path) -> str:
    """One SHA-256 (hexadecimal) of the four files: that of their own SHA-256s, in the order of `FILES`.

    The same as `sha256sum FILE... | cut -c1-64 | sha256sum`. Raises `UserError` when a file cannot be read.
    """
    try:
        lines = [hashlib.sha256((destination / name).read_bytes()).hexdigest() + "\n" for name in FILES]
    except OSError as error:
        raise UserError(f"cannot read the images: {error}") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()
