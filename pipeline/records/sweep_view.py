"""The view of a sweep in MLflow's pages: its points, and their accuracy against the first key of the grid."""

import math
import re
from collections.abc import Sequence

from pipeline.records import saved_view
from pipeline.sweeps.grid import Point
from pipeline.sweeps.refine import has_numbers, number_of

ACCURACY = "validation/accuracy"
WIDE = 100  # the ratio of the greatest to the least value from which the axis shows logarithms


def key(name: str) -> str:
    """Return the key of a sweep's view in the address of the pages."""
    return f"sweep-{re.sub('[^A-Za-z0-9_-]', '_', name)[:100]}"


def tag(name: str) -> str:
    """Return the name of the experiment's tag that holds a sweep's view."""
    return saved_view.tag(key(name))


def logarithm(point: Point) -> dict[str, float]:
    """Return the common logarithm of the first key's value, if that is a positive number, by the name of its metric.

    The pages draw runs on linear axes alone.
    """
    first = next(iter(point.values))
    return {f"log10 {first}": math.log10(number_of(point))} if has_numbers([point]) and number_of(point) > 0 else {}


def view(name: str, points: Sequence[Point]) -> str:
    """Return the tag's value: the runs of the points without their seeds, one colour for each variant."""
    first = next(iter(points[0].values))
    wide = all(map(logarithm, points)) and max(map(number_of, points)) >= WIDE * min(map(number_of, points))
    across = {"key": f"log10 {first}", "type": "METRIC"} if wide else {"key": first, "type": "PARAM"}
    chart = {
        **saved_view.SHOWN,
        "type": "SCATTER",
        "uuid": "accuracy",
        "metricSectionId": "accuracy",
        "runsCountToCompare": 100,
        "xaxis": across,
        "yaxis": {"key": ACCURACY, "type": "METRIC"},
    }
    quote = '"' if "'" in name else "'"  # it may be the name of a folder
    title = f"Accuracy ({'held-out' if points[0].params.data.holdout else 'test'} images)"
    metrics = (ACCURACY, "validation/loss", "diverged", "seconds")
    state = {
        "searchFilter": f"tags.sweep = {quote}{name}{quote} AND tags.level = 'point'",
        "selectedColumns": [
            *(f"params.`{param}`" for param in ("variant", *points[0].values)),
            *(f"metrics.`{metric}`" for metric in metrics),
            "tags.`role`",
        ],
        "runsHiddenMode": "SHOW_ALL",  # not the first ten alone
        "compareRunSections": [saved_view.section("accuracy", title, 1, 600)],
        "compareRunCharts": [chart],
    }
    return saved_view.named(f"Sweep {name}", state)
