"""Metrics and parameters as MLflow takes them."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow.entities import Metric, Param

BATCH = 1000  # metrics that MLflow accepts in one request

Points = Sequence[tuple[int, float]]  # steps and values of a metric


def batches(values: Mapping[str, Points]) -> list[list[Metric]]:
    """Return all points of all metrics, in batches of one request each; there is at least one."""
    now = int(time.time() * 1000)
    points = [Metric(name, float(value), now, step) for name, series in values.items() for step, value in series]
    return [points[start : start + BATCH] for start in range(0, max(1, len(points)), BATCH)]


def param_entities(values: Mapping[str, Any]) -> list[Param]:
    """Return the parameters that are not None."""
    return [Param(name, _text(value)) for name, value in values.items() if value is not None]


def _text(value: Any) -> str:
    """Return a parameter as params.yaml and the command line write it."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
