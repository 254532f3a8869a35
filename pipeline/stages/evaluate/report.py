"""The comparison as nested numbers and as a written answer, which also says when no difference is shown."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from pipeline.analysis.figures import TENSORS, VARIANT_NAMES
from pipeline.analysis.statistics import Comparison, Interval, verdict
from pipeline.analysis.tables import format_interval, format_number, markdown_table
from pipeline.network.perceptron import widths
from pipeline.params import Params, Variant
from pipeline.training.history import History

OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
OUTCOMES = {
    "test/accuracy": "test accuracy",
    "test/loss": "test loss",
    "validation/accuracy_after_epoch_1": "validation accuracy after epoch 1",
    "train/loss_mean_over_iterations": "training loss, averaged over all iterations,",
}

_number = partial(format_number, missing="–")
_interval = partial(format_interval, missing="–")


def to_metrics(comparisons: Mapping[str, Comparison]) -> dict[str, Any]:
    """Return the comparisons as nested numbers; those that are not finite are left out.

    Args:
        comparisons: Batch Normalization against plain, by outcome, such as `test/accuracy`.
    """
    metrics: dict[str, Any] = {}
    for name, comparison in comparisons.items():
        section, outcome = name.split("/")
        metrics.setdefault(section, {})[outcome] = _metrics(comparison)
    return metrics


def to_markdown(params: Params, comparisons: Mapping[str, Comparison], histories: Mapping[Variant, History]) -> str:
    """Return the written answer.

    Args:
        params: The settings of the trainings and their evaluation.
        comparisons: Batch Normalization against plain, by outcome: the keys of `OUTCOMES`.
        histories: Both variants' trainings.
    """
    confidence = f"{100 * params.evaluate.confidence:g} %"
    lines = [
        "# What does Batch Normalization change?",
        "",
        headline(params, comparisons["test/accuracy"]),
        "",
        f"Each row compares the same seeds; differences are Batch Normalization minus plain, with {confidence} "
        "bootstrap intervals over pairs. The last column is the probability that, of a pair, Batch Normalization "
        "has the greater value.",
        "",
        *_comparisons(comparisons),
        "",
        "In words:",
        "",
        *(f"- {_sentence(name, comparison)}" for name, comparison in comparisons.items()),
        *_diverged(histories),
        "",
        "## Activations after the last epoch",
        "",
        "Over all validation images, all units of the layer and all seeds. Saturated: the activation function is "
        "within 1 % of its limits (ReLU: is 0).",
        "",
        *_activations(histories),
        "",
    ]
    return "\n".join(lines)


def headline(params: Params, accuracy: Comparison) -> str:
    """Return the setting and both test accuracies in one sentence."""
    train, size = params.train, "-".join(map(str, widths(params.model)))
    setting = (
        f"With {OPTIMIZERS[train.optimizer]} at learning rate {train.lr:g}, batches of {train.batch_size} and "
        f"{train.epochs} epoch{'s' * (train.epochs != 1)}, the {size} {params.model.activation} network reaches "
        "a mean test accuracy of "
        f"{_number(accuracy.treatment_mean)} with Batch Normalization and {_number(accuracy.control_mean)} without"
    )
    return f"{setting}: {_finding(accuracy)}."


def _comparisons(comparisons: Mapping[str, Comparison]) -> list[str]:
    rows = [
        [
            OUTCOMES[name].rstrip(","),
            str(comparison.pairs),
            _number(comparison.control_mean),
            _number(comparison.treatment_mean),
            _interval(comparison.difference, sign="+"),
            _interval(comparison.superiority, digits=2),
        ]
        for name, comparison in comparisons.items()
    ]
    heading, *others = markdown_table(["", "pairs", "plain", "Batch Normalization", "difference", "P(greater)"], rows)
    return [heading.replace("|  |", "| |"), *others]  # as in the committed results


def _finding(comparison: Comparison) -> str:
    pairs = f"{comparison.pairs} pair{'s' * (comparison.pairs != 1)} of trainings"
    if comparison.pairs < 2:
        return f"{pairs}, too few for an interval"
    difference = f"a difference of {_interval(comparison.difference, sign='+')}, over {pairs}"
    return difference if comparison.difference.excludes(0) else f"{difference}: no difference is shown"


def _sentence(name: str, comparison: Comparison) -> str:
    name = OUTCOMES[name][0].upper() + OUTCOMES[name][1:]
    judged = verdict(comparison.difference, "higher", "lower")
    if judged not in ("higher", "lower"):
        return f"{name.rstrip(',')}: {judged}."
    return f"{name} is {judged} with Batch Normalization, by {_interval(_magnitude(comparison.difference))}."


def _magnitude(interval: Interval) -> Interval:
    """Return the magnitude of a difference whose interval excludes 0."""
    low, high = sorted((abs(interval.low), abs(interval.high)))
    return Interval(abs(interval.value), low, high)


def _metrics(comparison: Comparison) -> dict[str, Any]:
    metrics: dict[str, Any] = {"pairs": comparison.pairs}
    metrics |= _finite({"plain": comparison.control_mean, "batchnorm": comparison.treatment_mean})
    for name, interval in (("difference", comparison.difference), ("superiority", comparison.superiority)):
        metrics[name] = _finite({"value": interval.value, "low": interval.low, "high": interval.high})
    return metrics


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _diverged(histories: Mapping[Variant, History]) -> list[str]:
    counts = {variant: history.diverged() for variant, history in histories.items()}
    return [
        f"- {count} training{'s' * (count > 1)} diverged ({VARIANT_NAMES[variant]}): the loss became infinite or not a "
        "number. Comparisons of losses leave such pairs out; accuracies count, as those of a constant answer."
        for variant, count in counts.items()
        if count
    ]


def _activations(histories: Mapping[Variant, History]) -> list[str]:
    rows = []
    for tensor in sorted({name for history in histories.values() for name in history.histograms}, key=_place):
        layer, kind = tensor.split(".")
        for variant, history in histories.items():
            if tensor not in history.histograms:
                continue
            moments = [history.moments.get(f"{tensor}.{moment}") for moment in ("mean", "std", "saturated")]
            cells = ["" if values is None else _number(values[:, -1].mean(), digits=3) for values in moments]
            rows.append([layer.removeprefix("layer"), TENSORS[kind], VARIANT_NAMES[variant], *cells])
    return markdown_table(["layer", "tensor", "variant", "mean", "standard deviation", "saturated"], rows)


def _place(tensor: str) -> tuple[int, int]:
    """Return a key that sorts tensors in the order in which the network computes them."""
    layer, kind = tensor.split(".")
    return int(layer.removeprefix("layer")), list(TENSORS).index(kind)
