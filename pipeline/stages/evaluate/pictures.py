"""The figures of the comparison, and its animation."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis import figures, histograms
from pipeline.analysis.animation import Received, animate
from pipeline.analysis.statistics import compare, lower_median
from pipeline.analysis.wording import count_of, setting
from pipeline.network import activations
from pipeline.network.activations import Scale
from pipeline.params import VARIANTS, Params, Variant
from pipeline.stages.evaluate.tested import Tested
from pipeline.training.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = {"sigmoid": "sigmoids", "tanh": "tanh units", "relu": "ReLUs"}


def pictures(
    params: Params, histories: Mapping[Variant, History], tested: Mapping[Variant, Tested], layer: int
) -> dict[str, "Figure"]:
    """Draw both variants, by the names of the files; `layer` is the one that the lab shows."""
    final = {v: {name: counts[:, -1] for name, counts in histories[v].histograms.items()} for v in VARIANTS}
    where = "validation" if params.data.holdout else "test"
    note = note_of(params)
    survived = {v: tested[v].diverged_at == 0 for v in VARIANTS}
    accuracy = compare(tested["batchnorm"].accuracy, tested["plain"].accuracy, params.evaluate.confidence)
    typical = {v: lower_median(tested[v].accuracy) for v in VARIANTS}
    correct = {v: np.diagonal(tested[v].confusion, axis1=1, axis2=2) for v in VARIANTS}
    by_class = {v: correct[v] / np.maximum(tested[v].confusion.sum(axis=2), 1) for v in VARIANTS}
    return {
        "activations": histograms.by_layer(
            final,
            *axes_of(params, histories),
            f"{note} After the last epoch, over all validation images and units.",
        ),
        "activations_lab_view": histograms.lab_view(
            {v: tested[v].lab_view for v in VARIANTS},
            layer,
            params.evaluate.digit,
            f"{note} One test image, units of all seeds together, shared bins.",
        ),
        "loss_per_iteration": figures.curves(
            {v: histories[v].train_loss for v in VARIANTS}, 1, "iteration", "training loss (nats)", note, log=True
        ),
        "accuracy_per_epoch": figures.curves(
            {v: figures.errors_of(histories[v].validation_accuracy) for v in VARIANTS},
            0,
            "epoch (0: before training)",
            f"{where} error (%)",
            note,
            log=True,
        ),
        "test_accuracy_pairs": figures.paired(
            {v: tested[v].accuracy for v in VARIANTS},
            params.train.seeds,
            accuracy.difference,
            f"{note} A pair shares initial weights and batches; sorted by plain. Right: Batch Normalization minus "
            f"plain; line and grey band: mean of {count_of(accuracy.pairs, 'pair')} with Student's "
            f"{100 * params.evaluate.confidence:g} % interval.",
        ),
        "accuracy_per_digit": figures.per_digit(
            {v: np.where(survived[v][:, None], by_class[v], np.nan) for v in VARIANTS}, note
        ),
        "confusion": figures.confusions(
            {v: tested[v].confusion[typical[v]] for v in VARIANTS},
            {
                v: f"{figures.VARIANT_NAMES[v]}, seed {params.train.seeds[typical[v]]}, "
                f"accuracy {tested[v].accuracy[typical[v]]:.4f}"
                for v in VARIANTS
            },
            f"{setting(params)}; of {count_of(len(params.train.seeds), 'seed')} of each variant, the one with the "
            "median accuracy (of an even number, the lower one in the middle).",
        ),
    }


def activations_by_epoch(
    params: Params, histories: Mapping[Variant, History], epochs: Iterable[int]
) -> Iterator[NDArray[np.uint8]]:
    """Draw the activations of both variants after some epochs, as images [height, width, 3]."""
    counts = {v: histories[v].histograms for v in VARIANTS}
    return histograms.frames_by_layer(counts, *axes_of(params, histories), epochs, note_of(params))


def axes_of(
    params: Params, histories: Mapping[Variant, History]
) -> tuple[dict[str, Scale], dict[str, list[tuple[float, float]]]]:
    """Return the scale of every hidden tensor, and where those saturate that can."""
    activation = params.model.activation
    names = {name for v in VARIANTS for name in histories[v].histograms}
    saturating = {name for name in names for v in VARIANTS if f"{name}.saturated" in histories[v].moments}
    return (
        {name: activations.scale(name, activation) for name in names},
        {name: histograms.saturated_zones(name, activation) for name in saturating},
    )


def note_of(params: Params) -> str:
    """Say what was trained: the line under every picture."""
    return f"{setting(params)}; {count_of(len(params.train.seeds), 'seed')} of each variant."


def animation(params: Params, histories: Mapping[Variant, History], layer: int) -> bytes:
    """Draw, epoch by epoch, what the activation functions of a layer receive, as a GIF."""
    activation = params.model.activation
    received = {v: _received(histories[v], layer) for v in VARIANTS}
    tensor = f"layer{layer}.pre_activation"  # a normalised one has the same axis and limits
    words = (
        f"What the {UNITS[activation]} of hidden layer {layer} receive",
        f"input of the {activation} function (no unit; asinh scale)",
        f"{note_of(params)} Over all seeds, units and validation images. "
        "Grey: saturated, within 1 % of the limits (ReLU: 0).",
    )
    zones = histograms.saturated_zones(tensor, activation)
    return animate(received, activations.scale(tensor, activation), zones, words)


def _received(history: History, layer: int) -> Received:
    """Return the tensor that the activation function is given, normalised or not: the one that can saturate it."""
    names = (f"layer{layer}.{kind}" for kind in ("normalised", "pre_activation"))
    name = next(name for name in names if f"{name}.saturated" in history.moments)
    return Received(history.histograms[name], history.moments[f"{name}.saturated"], history.validation_accuracy)
