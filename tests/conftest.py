"""Fixtures shared by several test modules; the user's settings are dropped for the whole session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

from pipeline.data.dataset import PIXELS, Examples
from pipeline.params import Params, load
from tests.samples import PARAMS, enter
from tools import sandbox

if TYPE_CHECKING:
    from mlflow import MlflowClient

settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=60)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)  # --hypothesis-profile thorough
settings.load_profile("quick")


def pytest_configure() -> None:
    """Drop the user's settings of MLflow, DVC, Git, Ray and Matplotlib; pip's stay, for the real index."""
    own = sandbox.environment()
    for name in os.environ:
        if name.startswith(sandbox.USERS) and not name.startswith(("PYTEST_", "XDG_")):
            del os.environ[name]
    os.environ |= {name: value for name, value in own.items() if name.startswith("GIT_")}
    os.environ["MATPLOTLIBRC"] = os.devnull
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), own[name]]))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Networks this small are faster without threads that wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _unfrozen() -> Iterator[None]:
    """Keep commands from freezing what tests have imported: PyTorch's compiler would report it as leaked at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.freeze", lambda: None)
        yield


@pytest.fixture(autouse=True)
def _same_process() -> Iterator[None]:
    """Undo `configure_device`, whose settings hold for the whole process; Hypothesis refuses flushed denormals."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)


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
        return sandbox.write_images(tmp_path / "images", training, test, seed)

    return make


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a store, which is made once because making its tables takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def client(database: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[MlflowClient]":
    """MLflow's own client of the store that the test writes to; its folder is entered."""
    import mlflow  # takes seconds, which most tests can save

    enter(database, monkeypatch)
    yield mlflow.MlflowClient(f"sqlite:///{database}/mlflow.db")
    mlflow.set_tracking_uri("")
