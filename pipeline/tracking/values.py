"""Metrics, parameters and data sets as MLflow takes them."""

import json
import time
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Dataset, Metric, Param
from mlflow.types import Schema, TensorSpec

from .contents import Arrays, DataSet

BATCH = 1000  # metrics that MLflow accepts in one request

Points = Sequence[tuple[int, float]]  # steps and values of a metric


def batches(values: Mapping[str, Points], sent: Container[tuple[str, int]] = ()) -> list[list[Metric]]:
    """Return the points of all metrics but those that were `sent`, in batches of one request; there is at least one."""
    now = int(time.time() * 1000)
    points = [
        Metric(name, float(value), now, step)
        for name, series in values.items()
        for step, value in series
        if (name, step) not in sent
    ]
    return [points[start : start + BATCH] for start in range(0, max(1, len(points)), BATCH)]


def param_entities(values: Mapping[str, Any]) -> list[Param]:
    """Return the parameters that are not None."""
    return [Param(name, _text(value)) for name, value in values.items() if value is not None]


def dataset_entity(data: DataSet) -> Dataset:
    """Return a data set with a source that `mlflow.data.get_source` can open, its schema and its digest."""
    is_address = data.source.startswith(("http://", "https://"))
    kind, source = ("http", {"url": data.source}) if is_address else ("local", {"uri": data.source})
    schema = TensorDatasetSchema(_schema(data.features), _schema(data.targets)).to_dict()
    return Dataset(data.name, data.digest[:12], kind, json.dumps(source), json.dumps(schema), data.profile)


def _schema(arrays: Arrays) -> Schema:
    return Schema([TensorSpec(np.dtype(kind), tuple(shape), name) for name, (kind, shape) in arrays.items()])


def _text(value: Any) -> str:
    """Return a parameter as params.yaml and the command line write it."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
