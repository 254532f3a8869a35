"""The trained network as MLflow serves it: rows of 784 pixels in [0, 1] to predicted classes.

MLflow calls `_load_pyfunc`, for `mlflow.pyfunc.load_model` and `mlflow models serve`. Weights are safetensors:
nothing is unpickled.
"""

import json
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from pipeline.data.dataset import PIXELS
from pipeline.files import write_atomic
from pipeline.network.perceptron import Perceptron, restore
from pipeline.params import Model, Variant

PACKAGES = ("mlflow", "torch", "numpy", "safetensors", "pydantic", "ruamel.yaml")


class Classifier:
    """One network behind MLflow's interface."""

    def __init__(self, network: Perceptron) -> None:
        self.network = network

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the class [count] of images [count, 784] or [count, 28, 28] with pixels in [0, 1]."""
        rows = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32).reshape(-1, PIXELS))
        classes: NDArray[np.int64] = self.network(rows)[0].argmax(1).numpy()
        return classes


def save(folder: Path, model: Model, variant: Variant, weights: dict[str, NDArray[np.float32]]) -> None:
    """Write one network, every array with a single member, so that `_load_pyfunc` finds it."""
    description = {"variant": variant, "model": model.model_dump(mode="json")}
    write_atomic(folder / "network.json", json.dumps(description, indent=2) + "\n")
    write_atomic(folder / "weights.safetensors", safetensors.numpy.save(weights))


def _load_pyfunc(path: str) -> Classifier:
    folder = Path(path)
    description = json.loads((folder / "network.json").read_text(encoding="utf-8"))
    weights = safetensors.numpy.load_file(folder / "weights.safetensors")
    model = Model.model_validate(description["model"])
    return Classifier(restore(model, description["variant"] == "batchnorm", weights))
