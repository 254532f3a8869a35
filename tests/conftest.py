"""What several test files share: parameters and a few synthetic images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from pipeline import idx
from pipeline.data import PIXELS, Examples
from pipeline.fit import Population
from pipeline.params import Params, Variant, load

PARAMS = Path(__file__).parents[1] / "params.yaml"

settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=60)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)  # --hypothesis-profile thorough
settings.load_profile("quick")


def population(params: Params, variant: Variant) -> Population:
    """Describe the networks of all seeds of these parameters."""
    return Population(variant, params.model, params.train, params.train.seeds)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Networks this small are faster without threads that wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture
def params() -> Callable[..., Params]:
    """Load `params.yaml` with overrides, such as `params(hidden="5,4", lr="0.01")`."""
    return lambda **overrides: load(PARAMS, overrides)


@pytest.fixture
def examples() -> Callable[..., Examples]:
    """Make `count` images of random pixels with random labels."""

    def make(count: int, seed: int = 0) -> Examples:
        generator = torch.Generator().manual_seed(seed)
        return Examples(
            torch.rand(count, PIXELS, generator=generator), torch.randint(10, (count,), generator=generator)
        )

    return make


@pytest.fixture
def idx_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with the four IDX files; no two images are equal."""

    def make(training: int = 20, test: int = 10, seed: int = 0) -> Path:
        random = np.random.default_rng(seed)
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        for count, (images, labels) in ((training, idx.FILES[:2]), (test, idx.FILES[2:])):
            (folder / images).write_bytes(idx.encode_images(random.integers(0, 256, (count, 28, 28), np.uint8)))
            (folder / labels).write_bytes(idx.encode_labels(random.integers(0, 10, count, np.uint8)))
        return folder

    return make
