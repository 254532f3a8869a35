"""The trained network as MLflow serves it: rows of 784 pixels or images of 28×28 to classes or probabilities.

MLflow calls `_load_pyfunc`, for `mlflow.pyfunc.load_model` and `mlflow models serve`. Weights are safetensors:
nothing is unpickled.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from mlflow.exceptions import MlflowException
from numpy.typing import ArrayLike, NDArray

from pipeline.data.dataset import PIXELS
from pipeline.data.idx import TEST_IMAGES
from pipeline.data.images import ImageFiles
from pipeline.network.perceptron import Perceptron, restore
from pipeline.params import Model, Variant
from pipeline.records.sequential import to_sequential

PACKAGE = Path(__file__).parents[1]  # the code that a logged model carries
PACKAGES = ("mlflow", "torch", "numpy", "safetensors", "pydantic", "ruamel.yaml")
PROBABILITIES = "probabilities"
OPTIONS = {PROBABILITIES: False}
_SHAPES = ((PIXELS,), (28, 28), (28, 28, 1), (1, 28, 28))  # of one image
_NETWORK, _WEIGHTS = "network.json", "weights.safetensors"


class Classifier:
    """One network behind MLflow's interface."""

    def __init__(self, network: Perceptron) -> None:
        self.network = network

    @torch.no_grad()
    def predict(
        self, images: ArrayLike, params: Mapping[str, Any] | None = None
    ) -> NDArray[np.int64] | NDArray[np.float32]:
        """Return the class [count] of images or, with `{"probabilities": True}`, those of all classes [count, 10].

        Raises:
            MlflowException: The images are nothing that `as_rows` takes. A server passes its text on to the client.
        """
        logits = self.network(torch.from_numpy(as_rows(images)))[0]
        wanted = (params or {}).get(PROBABILITIES)
        answer: NDArray[Any] = (logits.softmax(1) if wanted else logits.argmax(1)).numpy()
        return answer

    def get_raw_model(self) -> torch.nn.Sequential:
        """Return the network in PyTorch's own layers, for MLflow's method of this name: float images to logits."""
        return to_sequential(self.network)


def as_rows(images: ArrayLike) -> NDArray[np.float32]:
    """Return images as the network takes them: [count, 784], float32 in [0, 1].

    Args:
        images: An array, a table (pandas) or lists, [count, 784], [count, 28, 28] or a single image. Pixels are
            floats from 0 to 1 or integers; if any integer is above 1, all are divided by 255.

    Raises:
        MlflowException: The shape, the type or a value is another. The text is one line.
    """
    pixels = _as_numbers(images)
    single = pixels.shape in ((PIXELS,), (28, 28))
    if not single and pixels.shape[1:] not in _SHAPES:
        raise _refusal(f"input of shape {pixels.shape}, expected rows of {PIXELS} pixels or images of 28×28")
    integers = pixels.dtype.kind in "bui"
    low, high = (pixels.min(), pixels.max()) if pixels.size else (0, 0)
    if not 0 <= low <= high <= (255 if integers else 1):  # NaN compares as False
        kind = "integers from 0 to 255" if integers else "floats from 0 to 1 (divide by 255) or integers from 0 to 255"
        raise _refusal(f"pixels from {low} to {high}, expected {kind}")
    rows = pixels.reshape(-1, PIXELS).astype(np.float32)
    return rows / np.float32(255) if integers and high > 1 else rows


def _as_numbers(images: ArrayLike) -> NDArray[Any]:
    try:
        pixels = np.asarray(images)
        if pixels.dtype.kind == "O":  # a table whose columns are of several types
            pixels = np.array(pixels.tolist())
    except ValueError:
        raise _refusal(f"rows of different lengths, expected rows of {PIXELS} pixels or images of 28×28") from None
    if pixels.dtype.kind not in "buif":
        raise _refusal(f"input of type {pixels.dtype}, expected numbers: rows of {PIXELS} pixels or images of 28×28")
    return pixels


def _refusal(text: str) -> MlflowException:
    refusal: MlflowException = MlflowException.invalid_parameter_value(text)
    return refusal


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
    return Classifier(restore(model, description["variant"], weights))
