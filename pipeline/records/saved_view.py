"""Saved views of MLflow's pages; the view "Variants compared": the newest training of each variant, with histograms.

MLflow 3.17 opens a comparison with one chart per metric in alphabetical order, and histograms at the very end. A
shared view, which is kept as a tag of the experiment, says what to show instead. The format is MLflow's own, not
documented, and tied to the version in requirements.in; without it the pages lose their views and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

KEY = "variants"
CURVES = ("train/loss", "validation/loss", "validation/accuracy")
COLUMNS = (
    "params.`variant`",
    "params.`train.lr`",
    "params.`train.batch_size`",
    *(f"metrics.`{name}`" for name in CURVES),
)

SHOWN = {"isGenerated": False, "deleted": False}  # what every card and section has
_LINE = {
    **SHOWN,
    "type": "LINE",
    "metricSectionId": "curves",
    "runsCountToCompare": 10,
    "lineSmoothness": 0,
    "xAxisScaleType": "linear",
    "scaleType": "linear",
    "range": {},
    "xAxisKey": "step",
    "selectedXAxisMetricKey": "",
    "yAxisKey": "metric",
    "yAxisExpressions": [],
    "ignoreOutliers": False,
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}


def tag(key: str) -> str:
    """Return the name of the experiment's tag that holds a view."""
    return f"mlflow.sharedViewState.{key}"


def path(experiment: str, key: str = KEY, *, charts: bool = True) -> str:
    """Return where an address of MLflow's pages goes on to show a view, as charts or as a table."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={key}{mode}&workflowType=machine_learning"


def description(experiment: str) -> str:
    """Return the experiment's description, in Markdown. Its links also choose MLflow's pages of model training."""
    return (
        "The same network with and without Batch Normalization. "
        f"[Variants compared]({path(experiment)}): curves and activations of the newest training of each variant; "
        f"[the same as a table]({path(experiment, charts=False)}). Runs: `download` (the images), `train@plain` and "
        "`train@batchnorm` (means over seeds, which are nested), `evaluate` (the comparison on the test images)."
    )


def variants(images: Sequence[str], last_step: int) -> str:
    """Return the tag's value: the curves, and the images with these keys, the slider at `last_step`."""
    cards: list[dict[str, Any]] = [
        {**_LINE, "uuid": name, "metricKey": name, "selectedMetricKeys": [name], "displayName": name} for name in CURVES
    ]
    histograms = {"type": "IMAGE", "uuid": "histograms", "metricSectionId": "images", "runsCountToCompare": 10}
    cards.append({**SHOWN, **histograms, "imageKeys": images, "step": last_step, "showRunParams": False})
    state = {
        "searchFilter": "tags.current = 'true' AND tags.stage LIKE 'train@%'",
        "selectedColumns": COLUMNS,
        "compareRunSections": [section("curves", "Curves", 3, 360), section("images", "Activations", 1, 2050)],
        "compareRunCharts": cards,
    }
    return named("Variants compared", state)


def named(name: str, state: Mapping[str, Any]) -> str:
    """Return a tag's value: a view with this name in the menu *Views*."""
    ordered = {"isAccordionReordered": True, "hideEmptyCharts": True, **state}
    return json.dumps({"name": name, "createdAt": 1, "updatedAt": 1, "state": json.dumps(ordered)})


def section(uuid: str, name: str, columns: int, height: int) -> dict[str, Any]:
    """Return a section with cards in some columns; the height is in pixels."""
    shown = {**SHOWN, "display": True, "isReordered": False}
    return {**shown, "uuid": uuid, "name": name, "columns": columns, "cardHeight": height}
