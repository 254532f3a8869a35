"""What several test files share: parameters, a few synthetic images, and a store of MLflow."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import settings

from pipeline.data import idx
from pipeline.data.dataset import PIXELS, Examples
from pipeline.params import Params, Variant, load
from pipeline.sweeps.probe import Probe
from pipeline.training.population import Population

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"

settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=60)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)  # --hypothesis-profile thorough
settings.load_profile("quick")


def population(params: Params, variant: Variant) -> Population:
    """Describe the networks of all seeds of these parameters."""
    return Population(variant, params.model, params.train, params.train.seeds)


def probe_of(study: str, every: int) -> Probe:
    """The probe of a study of the project."""
    file = ROOT / "studies" / study / "probe.py"
    return Probe(str(file), file.read_text(encoding="utf-8"), every)


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


TRACKING = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME", "DVC_STAGE")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a store, which is made once because making its tables takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def client(database: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[MlflowClient]":
    """MLflow's own client of the store that the test writes to; its folder is entered."""
    import mlflow  # takes seconds, which most tests can save

    for name in TRACKING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}/mlflow.db")
    yield mlflow.MlflowClient(f"sqlite:///{database}/mlflow.db")
    mlflow.set_tracking_uri("")
