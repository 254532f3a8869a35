"""The benchmarks' settings."""

from pathlib import Path

from pipeline import paths
from pipeline.data import idx, images
from pipeline.data.images import ImageFiles
from pipeline.errors import UserError

MNIST = paths.DATA / "mnist"
REPORT = Path("results/benchmark.md")
SCALE_REPORT = Path("results/scale.md")
STUDY = Path("studies/internal_covariate_shift")

LARGE_BATCH = 2000  # the lab's
SMALL_BATCH = 60  # that of Ioffe & Szegedy 2015, section 4.1
ROUNDS = 3  # of seconds per model-epoch; commands that take no second each have more, whole projects two


def check_images() -> Path:
    """Return the folder of the MNIST files; a UserError names those that are missing."""
    missing = [name for name in idx.FILES if not (MNIST / name).is_file()]
    if missing:
        raise UserError(f"{MNIST}: {', '.join(missing)} missing; run `make repro` first")
    return MNIST


def read_images() -> ImageFiles:
    """Read the MNIST files, or raise a UserError where one is missing or its content is not MNIST's."""
    return images.read("mnist", check_images())
