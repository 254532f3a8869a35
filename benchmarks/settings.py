"""The benchmarks' settings and bars."""

from pathlib import Path
from typing import Literal

from pipeline import paths
from pipeline.data import idx, images
from pipeline.data.images import ImageFiles
from pipeline.errors import UserError

Kind = Literal["lab", "project", "products", "lab_with_validation", "logging"]

MNIST = paths.DATA / "mnist"
REPORT = Path("results/benchmark.md")
SCALE_REPORT = Path("results/scale.md")

LARGE_BATCH = 2000  # the lab's
SMALL_BATCH = 60  # that of Ioffe & Szegedy 2015, section 4.1

ROUNDS = 5  # the lab's epochs: a round holds one of them

# The bars: the lab's seconds divided by this project's, and this project's divided by those of its matrix products.
LEAST_GAINS = {LARGE_BATCH: {"the lab": 20.0, "a grid": 30.0}, SMALL_BATCH: {}}
GREATEST_LOSSES = {LARGE_BATCH: {"the lab": 2.0, "a grid": 1.6}, SMALL_BATCH: {"a grid": 3.0}}
GREATEST_MEMORY = 1.5e9  # bytes, of every stage
STUDY = "learning_rate"
GREATEST_STUDY_SECONDS = 360.0
GREATEST_STUDY_MEMORY = 2e9  # bytes
GREATEST_LOGGING_SECONDS = 0.5  # of one point of ten seeds


def check_images() -> Path:
    """Return the folder of the MNIST files.

    Raises:
        UserError: One of them is missing.
    """
    missing = [name for name in idx.FILES if not (MNIST / name).is_file()]
    if missing:
        raise UserError(f"{MNIST}: {', '.join(missing)} missing; run `make repro` first")
    return MNIST


def read_images() -> ImageFiles:
    """Read and verify the MNIST files.

    Raises:
        UserError: A file is missing, or its content is not MNIST's.
    """
    return images.read("mnist", check_images())
