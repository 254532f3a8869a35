"""A model to log, and stores that refuse a part of a record as servers do that do not know it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import RestException

from pipeline.tracking.contents import ModelFiles

LOADER = """
import numpy as np


class Model:
    def predict(self, rows):
        return np.zeros(len(rows), np.int64)


def _load_pyfunc(path):
    return Model()
"""


def refusing(inner: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """Refuse as a server does that does not know a thing; with names, only calls that mention one of them."""

    def method(*given: Any, **more: Any) -> Any:
        if not names or any(str(one).endswith(names) for one in given):
            raise RestException({"error_code": "ENDPOINT_NOT_FOUND", "message": "no"})  # type: ignore[no-untyped-call]
        return inner(*given, **more)

    return method


def refuse(patch: pytest.MonkeyPatch, method: str, *names: str) -> None:
    patch.setattr(mlflow.MlflowClient, method, refusing(getattr(mlflow.MlflowClient, method), *names))


def write_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a package with a loader of models, and let it be imported."""
    package = folder / "loaders"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "zeros.py").write_text(LOADER, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    return package


def zeros(package: Path, content: bytes = b"1") -> ModelFiles:
    """A model that predicts zeros."""
    return ModelFiles(
        name="zeros",
        registered="all-zeros",
        note="Zeros.",
        loader="loaders.zeros",
        files={"note": content},
        example=np.zeros((2, 3), np.float32),
        options={"loud": False},
        packages=["numpy"],
        code=package,
        metrics={"accuracy_of_model": 0.75},
    )
