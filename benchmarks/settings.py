"""What is measured, and the bars."""

from pathlib import Path
from typing import Literal

from pipeline import idx, layout
from pipeline.errors import UserError

Kind = Literal["lab", "project", "products", "lab_with_validation"]

MNIST = layout.DATA / "mnist"
REPORT = layout.RESULTS / "benchmark.md"

LARGE_BATCH = 2000  # the lab's
SMALL_BATCH = 60  # that of Ioffe & Szegedy 2015, section 4.1

ROUNDS = 5  # the lab's epochs: a round holds one of them

# The bars hold at the large batch.
LEAST_GAIN = 20.0  # the lab's seconds over this project's
GREATEST_LOSS = 2.0  # this project's seconds over those of the matrix products alone
GREATEST_MEMORY = 1.5e9  # bytes, of every stage


def check_images() -> Path:
    """Return the folder of the MNIST files.

    Raises:
        UserError: one of them is missing.
    """
    missing = [name for name in idx.FILES if not (MNIST / name).is_file()]
    if missing:
        raise UserError(f"{MNIST}: {', '.join(missing)} missing; run `make repro` first")
    return MNIST
