"""The trained network as MLflow serves it: rows of 784 pixels in [0, 1] to predicted classes.

MLflow calls `_load_pyfunc`, for `mlflow.pyfunc.load_model` and `mlflow models serve`. Weights are safetensors:
nothing is unpickled.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from pipeline.data.dataset import PIXELS
from pipeline.data.idx import TEST_IMAGES
from pipeline.data.images import ImageFiles
from pipeline.network.perceptron import Perceptron, restore
from pipeline.params import Model, Variant

PACKAGE = Path(__file__).parents[1]  # the code that a logged model carries
PACKAGES = ("mlflow", "torch", "numpy", "safetensors", "pydantic", "ruamel.yaml")
_NETWORK, _WEIGHTS = "network.json", "weights.safetensors"


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


def files(model: Model, variant: Variant, weights: Mapping[str, NDArray[np.float32]]) -> dict[str, bytes]:
    """Return the files of one network, every array with a single member, as `_load_pyfunc` reads them."""
    description = {"variant": variant, "model": model.model_dump(mode="json")}
    return {
        _NETWORK: (json.dumps(description, indent=2) + "\n").encode(),
        _WEIGHTS: safetensors.numpy.save(dict(weights)),
    }


def example(images: ImageFiles) -> NDArray[np.float32]:
    """Return the first two test images as rows that the model takes."""
    pixels = images.arrays[TEST_IMAGES][:2]
    return (pixels.reshape(2, -1) / 255).astype(np.float32)


def _load_pyfunc(path: str) -> Classifier:
    description = json.loads((Path(path) / _NETWORK).read_text(encoding="utf-8"))
    weights = safetensors.numpy.load_file(Path(path) / _WEIGHTS)
    model = Model.model_validate(description["model"])
    return Classifier(restore(model, description["variant"] == "batchnorm", weights))
