"""The comparison as one web page, which needs nothing but a browser: Vega-Lite, which draws it, is in the file.

In `assets/`, `page.html` is the page, `charts.js` and `histograms.js` say what is drawn, and `vega.js` draws it: the
library as `tools/vega.py` bundles it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from markdown_it import MarkdownIt

from pipeline.analysis.figures import COLOURS, TENSORS, VARIANT_NAMES, errors_of, evenly, layers
from pipeline.network.activations import BINS, Scale
from pipeline.params import VARIANTS, Params, Variant
from pipeline.stages.evaluate.pictures import axes_of, note_of
from pipeline.stages.evaluate.tested import Tested
from pipeline.training.history import Floats, History

ASSETS = Path(__file__).parent / "assets"
STEPS = 300  # of a curve: more than a screen shows
EPOCHS = 50  # of the histograms
DIGITS = 4


def page(
    params: Params, histories: Mapping[Variant, History], tested: Mapping[Variant, Tested], layer: int, answer: str
) -> str:
    """Return the page; equal results have equal bytes.

    Args:
        params: All parameters.
        histories: Both variants' trainings.
        tested: Both variants' results on the test images.
        layer: The layer whose histograms are shown first.
        answer: The written answer, in Markdown.
    """
    images = "validation" if params.data.holdout else "test"
    data = {
        "variants": [{"name": VARIANT_NAMES[v], "colour": COLOURS[v]} for v in VARIANTS],
        "seeds": params.train.seeds,
        "curves": _curves(histories, images),
        "histograms": _histograms(params, histories, layer),
        "errors": [_numbers(errors_of(tested[v].accuracy)) for v in VARIANTS],
        "confusions": {
            "counts": [tested[v].confusion.tolist() for v in VARIANTS],
            "accuracies": [_numbers(tested[v].accuracy) for v in VARIANTS],
        },
    }
    return Template(_asset("page.html")).substitute(
        answer=MarkdownIt("commonmark", {"html": False}).enable("table").render(answer),
        note=note_of(params),
        images=images.capitalize(),
        data=json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        vega=_asset("vega.js"),
        charts=_asset("charts.js"),
        histograms=_asset("histograms.js"),
    )


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _curves(histories: Mapping[Variant, History], images: str) -> dict[str, Any]:
    """Return the curves, values [variants, seeds, steps], by the element that shows each."""
    epoch = "epoch (0: before training)"
    return {
        "train_loss": _curve([histories[v].train_loss for v in VARIANTS], 1, "iteration", "training loss (nats)"),
        "validation_error": _curve(
            [errors_of(histories[v].validation_accuracy) for v in VARIANTS], 0, epoch, f"{images} error (%)"
        ),
        "validation_loss": _curve([histories[v].validation_loss for v in VARIANTS], 0, epoch, f"{images} loss (nats)"),
    }


def _curve(values: list[Floats], first: int, step: str, title: str) -> dict[str, Any]:
    shown = evenly(values[0].shape[1] - 1, STEPS)
    steps = [first + at for at in shown]
    return {"steps": steps, "step": step, "title": title, "values": [_numbers(lines[:, shown]) for lines in values]}


def _histograms(params: Params, histories: Mapping[Variant, History], layer: int) -> dict[str, Any]:
    """Return every hidden tensor's histograms.

    `shares` [variants, epochs, bins] are fractions of all values, null for a variant without the tensor. `edges` and
    `zones`, where values saturate the activation function, are places on the axis: values or, if `asinh`, their inverse
    hyperbolic sines; a zone's end that is null is that of the axis.
    """
    known = {name for v in VARIANTS for name in histories[v].histograms}
    names = [f"{each}.{kind}" for each in layers(known) for kind in TENSORS if f"{each}.{kind}" in known]
    epochs = evenly(histories["plain"].epochs, EPOCHS)
    scales, zones = axes_of(params, histories)
    return {
        "epochs": epochs,
        "shown": names.index(f"layer{layer}.pre_activation"),
        "tensors": [_tensor(name, scales[name], zones.get(name, []), histories, epochs) for name in names],
    }


def _tensor(
    name: str,
    axis: Scale,
    zones: list[tuple[float, float]],
    histories: Mapping[Variant, History],
    epochs: list[int],
) -> dict[str, Any]:
    layer, kind = name.split(".")
    return {
        "label": f"hidden layer {layer.removeprefix('layer')}: {TENSORS[kind]}",
        "asinh": axis.asinh,
        "edges": _numbers(np.linspace(axis.low, axis.high, BINS + 1)),
        "zones": _numbers(np.arcsinh(zones) if axis.asinh else np.array(zones)),
        "shares": [
            _numbers(_shares(histories[v].histograms[name][:, epochs].sum(axis=0)))
            if name in histories[v].histograms
            else None
            for v in VARIANTS
        ],
    }


def _shares(counts: Any) -> Floats:
    """Return counts [epochs, bins] as fractions of an epoch's values, to a millionth."""
    shares: Floats = np.round(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1), 6)
    return shares


def _numbers(values: Floats) -> Any:
    """Return an array as lists of short numbers; those that are not finite, which JSON lacks, become null."""
    if values.ndim:
        return [_numbers(value) for value in values]
    return float(f"{values:.{DIGITS}g}") if np.isfinite(values) else None
