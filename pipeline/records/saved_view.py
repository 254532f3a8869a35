"""The view "Variants compared" of MLflow's pages: the newest training of each variant, curves above histograms.

MLflow 3.17 opens a comparison with one chart per metric in alphabetical order, and histograms at the very end. A
shared view, which is kept as a tag of the experiment, says what to show instead. The format is MLflow's own, not
documented, and tied to the version in requirements.in; without it the pages lose this view and nothing else.
"""

import json
from typing import Any

KEY = "variants"
TAG = f"mlflow.sharedViewState.{KEY}"
CHARTS = f"runs?viewStateShareKey={KEY}&compareRunsMode=CHART&workflowType=machine_learning"
TABLE = f"runs?viewStateShareKey={KEY}&workflowType=machine_learning"
CURVES = ("train/loss", "validation/loss", "validation/accuracy")
COLUMNS = (
    "params.`variant`",
    "params.`train.lr`",
    "params.`train.batch_size`",
    *(f"metrics.`{name}`" for name in CURVES),
)

_SHOWN = {"isGenerated": False, "deleted": False}
_LINE = {
    **_SHOWN,
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


def path(experiment: str, page: str = CHARTS) -> str:
    """Return where an address of MLflow's pages goes on to show the view."""
    return f"#/experiments/{experiment}/{page}"


def description(experiment: str) -> str:
    """Return the experiment's description, in Markdown. Its links also choose MLflow's pages of model training."""
    return (
        "The same network with and without Batch Normalization. "
        f"[Variants compared]({path(experiment)}): curves and activations of the newest training of each variant; "
        f"[the same as a table]({path(experiment, TABLE)}). Runs: `download` (the images), `train@plain` and "
        "`train@batchnorm` (means over seeds, which are nested), `evaluate` (the comparison on the test images)."
    )


def variants(both: str, images: list[str], last_step: int) -> str:
    """Return the tag's value: the curves, the images of both variants and of each, the slider at `last_step`.

    Args:
        both: The key of the images that show both variants.
        images: The keys of each variant's images.
        last_step: Where the sliders stand.
    """
    cards: list[dict[str, Any]] = [
        {**_LINE, "uuid": name, "metricKey": name, "selectedMetricKeys": [name], "displayName": name} for name in CURVES
    ]
    for section, keys in (("both", [both]), ("images", images)):
        grid = {"type": "IMAGE", "uuid": f"{section}_grid", "metricSectionId": section, "runsCountToCompare": 10}
        cards.append({**_SHOWN, **grid, "imageKeys": keys, "step": last_step, "showRunParams": False})
    state = {
        "searchFilter": "tags.current = 'true' AND tags.stage != 'download'",
        "selectedColumns": COLUMNS,
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "compareRunSections": [
            _section("curves", "Curves", 3, 360),
            _section("both", "Activations of both variants, by epoch", 1, 800),
            _section("images", "Activations of each variant, by epoch", 1, 2050),
        ],
        "compareRunCharts": cards,
    }
    named = {"name": "Variants compared", "createdAt": 1, "updatedAt": 1, "state": json.dumps(state)}
    return json.dumps(named)


def _section(uuid: str, name: str, columns: int, height: int) -> dict[str, Any]:
    shown = {**_SHOWN, "display": True, "isReordered": False}
    return {**shown, "uuid": uuid, "name": name, "columns": columns, "cardHeight": height}
