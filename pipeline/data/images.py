"""The four files of a data set, read once: parsed, digested, and verified against what has been published.

MNIST must match the SHA-256 of its original files. Fashion-MNIST and Kuzushiji-MNIST are checked for their
structure, their counts and the mean of their pixels, which tells them apart; custom images for their structure alone.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.idx import FILES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, parse_set
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


@dataclass(frozen=True)
class ImageFiles:
    """The images and labels of a data set as its files hold them.

    Attributes:
        arrays: By the names in `FILES`, images [count, 28, 28] and labels [count], uint8.
        sha256: The digest of each file, likewise.
        size: Bytes of the four files together.
    """

    arrays: Mapping[str, NDArray[np.uint8]]
    sha256: Mapping[str, str]
    size: int

    @property
    def digest(self) -> str:
        """One SHA-256 for all: that of the files' own, the same as `sha256sum FILE... | cut -c1-64 | sha256sum`."""
        return hashlib.sha256("".join(f"{self.sha256[name]}\n" for name in FILES).encode()).hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """The number of images in `train` and in `t10k`."""
        return {"train": len(self.arrays[TRAIN_LABELS]), "t10k": len(self.arrays[TEST_LABELS])}


def parse(dataset: str, contents: Mapping[str, bytes]) -> ImageFiles:
    """Parse and verify the bytes of the four files, keyed by the names in `FILES`.

    Raises:
        UserError: One is missing, damaged or not the data set's. The text begins with its name.
    """
    arrays = parse_set(contents)
    digests = {name: hashlib.sha256(contents[name]).hexdigest() for name in FILES}
    if dataset != "custom":
        _verify(dataset, arrays, digests)
    return ImageFiles(arrays, digests, sum(map(len, contents.values())))


def read(dataset: str, folder: Path) -> ImageFiles:
    """Read, parse and verify the four files of a data set in `folder`.

    Raises:
        UserError: One cannot be read, is damaged or not the data set's.
    """
    again = "run `dvc repro`" if dataset == "custom" else "run `dvc repro` or `python -m pipeline download`"
    try:
        return parse(dataset, {name: (folder / name).read_bytes() for name in FILES})
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}; {again}") from None
    except UserError as error:
        raise UserError(f"{folder}/{error}; {again}") from None


def _verify(dataset: str, arrays: Mapping[str, NDArray[np.uint8]], digests: Mapping[str, str]) -> None:
    advice = "custom images need `data.dataset: custom`"
    for name, sha256, count in zip(FILES, _MNIST, _COUNTS, strict=True):
        if dataset == "mnist" and digests[name] != sha256:
            raise UserError(f"{name}: not MNIST's by its SHA-256 ({advice})")
        if len(arrays[name]) != count:
            raise UserError(f"{name}: not {dataset}'s, which holds {count} ({advice})")
    if dataset in _MEANS:
        low, high = _MEANS[dataset]
        mean = float(arrays[TRAIN_IMAGES].mean()) / 255
        if not low < mean < high:
            raise UserError(f"{TRAIN_IMAGES}: not {dataset}'s by its mean pixel, {mean:.3f} ({advice})")
