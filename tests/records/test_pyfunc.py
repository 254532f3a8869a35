"""The logged model takes the arrays that people have, from Python and over REST, and refuses the rest in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from pipeline.network.perceptron import Perceptron
from pipeline.params import load
from pipeline.records import pyfunc
from pipeline.tracking.contents import ModelFiles
from pipeline.tracking.runs import start_run
from tests.samples import PARAMS, enter

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other
pd = pytest.importorskip("pandas")  # which comes with MLflow
BYTES = np.random.default_rng(0).integers(0, 256, (5, 784), np.uint8)
ROWS = (BYTES / 255).astype(np.float32)


@pytest.fixture(scope="module")
def model(database: Path) -> Any:
    """A network with random weights, logged and loaded."""
    params = load(PARAMS, {"model.hidden": "8,6"})
    network = Perceptron(params.model, "batchnorm", seeds=[3])
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    with pytest.MonkeyPatch.context() as patched:
        enter(database, patched)
        with start_run("train@batchnorm", {}) as run:
            model = ModelFiles(
                name="batchnorm",
                registered="test-batchnorm",
                note="Random weights.",
                loader=pyfunc.__name__,
                files=pyfunc.files(params.model, "batchnorm", weights),
                example=ROWS[:2],
                options=pyfunc.OPTIONS,
                packages=pyfunc.PACKAGES,
                code=pyfunc.PACKAGE,
                metrics={},
            )
            run.log_model(model)
        loaded = mlflow.pyfunc.load_model(f"runs:/{run.run_id}/batchnorm")
        mlflow.set_tracking_uri("")
    return loaded


@pytest.fixture(scope="module")
def expected(model: Any) -> list[int]:
    classes = model.predict(ROWS)
    assert classes.dtype == np.int64
    return list(classes.tolist())


TAKEN: dict[str, Callable[[], Any]] = {
    "float64": lambda: BYTES / 255,
    "float64 images": lambda: BYTES.reshape(-1, 28, 28) / 255,
    "images": lambda: ROWS.reshape(-1, 28, 28),
    "images with a channel": lambda: ROWS.reshape(-1, 28, 28, 1),
    "PyTorch": lambda: torch.tensor(ROWS).reshape(-1, 1, 28, 28),
    "bytes": lambda: BYTES,
    "images of bytes": lambda: BYTES.reshape(-1, 28, 28),
    "integers": lambda: BYTES.astype(np.int64),
    "table": lambda: pd.DataFrame(BYTES / 255),
    "table of integers": lambda: pd.DataFrame(BYTES, columns=[f"pixel{at}" for at in range(784)]),
    "table of mixed integers": lambda: pd.DataFrame(BYTES).astype({0: "Int64", 1: "int32"}),
    "lists": lambda: BYTES.tolist(),
    "lists of floats": lambda: (BYTES / 255).tolist(),
}


@pytest.mark.parametrize("name", TAKEN)
def test_the_same_images_give_the_same_classes(name: str, model: Any, expected: list[int]) -> None:
    np.testing.assert_array_equal(pyfunc.as_rows(TAKEN[name]()), ROWS)
    assert model.predict(TAKEN[name]()).tolist() == expected


def test_one_image_and_none(model: Any, expected: list[int]) -> None:
    for image in (ROWS[0], ROWS[0].reshape(28, 28), BYTES[:1]):
        assert model.predict(image).tolist() == expected[:1]
    assert model.predict(ROWS[:0]).tolist() == []


def test_binary_integers_are_not_divided() -> None:
    binary = (BYTES > 100).astype(np.uint8)
    np.testing.assert_array_equal(pyfunc.as_rows(binary), binary.astype(np.float32))
    np.testing.assert_array_equal(pyfunc.as_rows(binary.astype(bool)), binary.astype(np.float32))


FLOATS = "expected floats from 0 to 1 (divide by 255) or integers from 0 to 255"
SHAPE = "expected rows of 784 pixels or images of 28×28"
REFUSED: dict[str, tuple[Any, str]] = {
    "floats above 1": (np.full((1, 784), 255.0), f"pixels from 255.0 to 255.0, {FLOATS}"),
    "floats below 0": (np.full((1, 784), -0.5), f"pixels from -0.5 to -0.5, {FLOATS}"),
    "NaN": (np.full((1, 784), np.nan), f"pixels from nan to nan, {FLOATS}"),
    "integers above 255": (np.full((1, 784), 256), "pixels from 256 to 256, expected integers from 0 to 255"),
    "integers below 0": (np.full((1, 784), -1), "pixels from -1 to -1, expected integers from 0 to 255"),
    "another width": (ROWS[:, :100], f"input of shape (5, 100), {SHAPE}"),
    "a label in front": (pd.DataFrame(np.zeros((2, 785))), f"input of shape (2, 785), {SHAPE}"),
    "other images": (np.zeros((2, 32, 32)), f"input of shape (2, 32, 32), {SHAPE}"),
    "a number": (0.5, f"input of shape (), {SHAPE}"),
    "texts": ([["a"] * 784], f"input of type <U1, expected numbers: {SHAPE.removeprefix('expected ')}"),
    "rows of other lengths": ([[0.0] * 784, [0.0]], f"rows of different lengths, {SHAPE}"),
    "gaps": (
        pd.DataFrame([[None] * 784]),
        f"input of type object, expected numbers: {SHAPE.removeprefix('expected ')}",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused_in_one_line(name: str, model: Any) -> None:
    given, words = REFUSED[name]
    with pytest.raises(MlflowException) as caught:
        model.predict(given)
    assert caught.value.message == words


def score(model: Any, content: object, kind: str = "application/json") -> list[Any]:
    """Answer a request as `mlflow models serve` does."""
    text = content if isinstance(content, str) else json.dumps(content)
    invocations: Any = scoring_server.invocations
    answer = invocations(text, kind, model, model.metadata.get_input_schema())
    assert answer.status == 200
    return list(json.loads(answer.response)["predictions"])


def test_what_a_server_is_asked(model: Any, expected: list[int]) -> None:
    for rows in (ROWS, BYTES, ROWS.reshape(-1, 28, 28), BYTES.reshape(-1, 28, 28)):
        for key in ("inputs", "instances"):
            assert score(model, {key: rows.tolist()}) == expected
    table = pd.DataFrame(BYTES)
    assert score(model, {"dataframe_split": table.to_dict(orient="split")}) == expected
    assert score(model, {"dataframe_records": table.to_dict(orient="records")}) == expected
    assert score(model, table.to_csv(index=False), "text/csv") == expected


def test_probabilities_are_asked_for_by_a_parameter(model: Any, expected: list[int]) -> None:
    wanted = {"probabilities": True}
    probabilities = model.predict(ROWS, params=wanted)
    assert (probabilities.shape, probabilities.dtype) == ((5, 10), np.float32)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert probabilities.argmax(axis=1).tolist() == expected
    np.testing.assert_allclose(probabilities, model.get_raw_model()(torch.tensor(ROWS)).softmax(1).detach(), rtol=1e-4)
    served = score(model, {"inputs": ROWS.tolist(), "params": wanted})
    np.testing.assert_allclose(served, probabilities, rtol=1e-6)


def test_what_a_server_answers_to_the_rest(model: Any) -> None:
    with pytest.raises(MlflowException) as caught:
        score(model, {"inputs": (ROWS * 255).tolist()})
    assert caught.value.message.endswith(FLOATS)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"  # status 400


def test_the_example_stays(model: Any) -> None:
    np.testing.assert_array_equal(model.input_example, ROWS[:2])
    assert model.metadata.get_output_schema().inputs[0].type == np.int64
