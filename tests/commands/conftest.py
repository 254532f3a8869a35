"""A project that the tests of one module share; a module with fixtures of these names has its own."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from tests.samples import enter
from tests.sweeping import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("session")
    make(made)
    return made


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The session's project."""
    enter(folder, monkeypatch)
    yield folder
    mlflow.set_tracking_uri("")
