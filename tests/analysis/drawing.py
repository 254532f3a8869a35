"""Random values to draw, and what can be read from a figure."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.params import Variant

Floats = NDArray[np.float64]
PLAIN, BATCHNORM = "#d55e00", "#0072b2"


def values(*shape: int, low: float = 0.1) -> dict[Variant, Floats]:
    random = np.random.default_rng(0)
    return {"plain": random.uniform(low, 1, shape), "batchnorm": random.uniform(low, 1, shape)}


def only(figure: Figure) -> Axes:
    assert len(figure.axes) == 1
    return figure.axes[0]


def legend(figure: Figure) -> list[str]:
    assert len(figure.legends) == 1
    return [text.get_text() for text in figure.legends[0].get_texts()]
