"""What a run says of a data set and of a model, in plain values that the outbox can keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, tuple[str, Sequence[int]]]  # the type and shape of each array; -1 is any length


@dataclass(frozen=True)
class DataSet:
    """A data set that a run has used.

    Attributes:
        name: Its name.
        digest: 64 hexadecimal digits.
        source: The address that it comes from, or a folder.
        features, targets: Its arrays.
        profile: Its size, in JSON.
    """

    name: str
    digest: str
    source: str
    features: Arrays
    targets: Arrays
    profile: str


@dataclass(frozen=True)
class ModelFiles:
    """A model that maps rows to int64 [rows]. It checks its input itself: MLflow would refuse other types.

    Attributes:
        name: Its name in the run.
        registered: Its name among the registered models.
        note: What it is, in a sentence.
        loader: The module that serves it, by its function `_load_pyfunc`.
        files: The contents of its files, by name.
        example: Rows that it takes.
        options: The parameters of a prediction that are true or false, and their defaults.
        packages: The distributions that it needs, which are pinned to the installed versions.
        code: The folder of the package that holds `loader`.
        metrics: Its own; those of the run are not given to it.
    """

    name: str
    registered: str
    note: str
    loader: str
    files: Mapping[str, bytes]
    example: NDArray[np.float32]
    options: Mapping[str, bool]
    packages: Sequence[str]
    code: Path
    metrics: Mapping[str, float]
