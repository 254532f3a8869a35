"""The comparison in words: Markdown made from the numbers, also when they say "no difference"."""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.analysis.figures import LABELS, TENSORS
from pipeline.analysis.statistics import Comparison, Interval, verdict
from pipeline.params import Params, Variant
from pipeline.training.history import History

OPTIMIZERS = {"adam": "Adam", "sgd": "SGD"}
OUTCOMES = {
    "test/accuracy": "test accuracy",
    "test/loss": "test loss",
    "validation/accuracy_after_epoch_1": "validation accuracy after epoch 1",
    "train/loss_mean_over_iterations": "training loss, averaged over all iterations,",
}


def metrics(compared: Mapping[str, Comparison]) -> dict[str, Any]:
    """Return the comparisons as nested plain values; an interval that one pair cannot have is left out."""
    found: dict[str, Any] = {}
    for name, comparison in compared.items():
        section, outcome = name.split("/")
        found.setdefault(section, {})[outcome] = _metrics(comparison)
    return found


def text(params: Params, compared: Mapping[str, Comparison], histories: Mapping[Variant, History]) -> str:
    """Return the written answer."""
    confidence = f"{100 * params.evaluate.confidence:g} %"
    rows = [
        f"| {OUTCOMES[name].rstrip(',')} | {c.pairs} | {_number(c.plain_mean)} | {_number(c.batchnorm_mean)} | "
        f"{_interval(c.difference)} | {_interval(c.superiority, digits=2, sign='')} |"
        for name, c in compared.items()
    ]
    lines = [
        "# What does Batch Normalization change?",
        "",
        headline(params, compared["test/accuracy"]),
        "",
        f"Each row compares the same seeds; differences are Batch Normalization minus plain, with {confidence} "
        "bootstrap intervals over pairs. The last column is the probability that, of a pair, Batch Normalization "
        "has the greater value.",
        "",
        "| | pairs | plain | Batch Normalization | difference | P(greater) |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "In words:",
        "",
        *(f"- {_sentence(name, comparison)}" for name, comparison in compared.items()),
        *_diverged(histories),
        "",
        "## Activations after the last epoch",
        "",
        "Over all validation images, all units of the layer and all seeds. Saturated: the activation function is "
        "within 1 % of its limits (ReLU: is 0).",
        "",
        "| layer | tensor | variant | mean | standard deviation | saturated |",
        "| --- | --- | --- | --- | --- | --- |",
        *_activations(histories),
        "",
    ]
    return "\n".join(lines)


def headline(params: Params, accuracy: Comparison) -> str:
    """Return the one sentence to remember."""
    train, size = params.train, "-".join(str(units) for units in (784, *params.model.hidden, 10))
    setting = (
        f"With {OPTIMIZERS[train.optimizer]} at learning rate {train.lr:g}, batches of {train.batch_size} and "
        f"{train.epochs} epoch{'s' * (train.epochs != 1)}, the {size} {params.model.activation} network reaches "
        "a mean test accuracy of "
        f"{_number(accuracy.batchnorm_mean)} with Batch Normalization and {_number(accuracy.plain_mean)} without"
    )
    return f"{setting}: {_finding(accuracy)}."


def _number(value: float, digits: int = 4, sign: str = "") -> str:
    return f"{value:{sign}.{digits}f}" if math.isfinite(value) else "–"


def _finding(comparison: Comparison) -> str:
    pairs = f"{comparison.pairs} pair{'s' * (comparison.pairs != 1)} of trainings"
    if comparison.pairs < 2:
        return f"{pairs}, too few for an interval"
    interval = f"a difference of {_interval(comparison.difference)}, over {pairs}"
    return interval if comparison.difference.excludes(0) else f"{interval}: no difference is shown"


def _sentence(name: str, comparison: Comparison) -> str:
    name = OUTCOMES[name][0].upper() + OUTCOMES[name][1:]
    found = verdict(comparison.difference, "higher", "lower")
    if found not in ("higher", "lower"):
        return f"{name.rstrip(',')}: {found}."
    return f"{name} is {found} with Batch Normalization, by {_interval(comparison.difference, sign='', absolute=True)}."


def _interval(interval: Interval, digits: int = 4, sign: str = "+", *, absolute: bool = False) -> str:
    numbers = [interval.value, interval.low, interval.high]
    if absolute:
        numbers = [abs(interval.value), *sorted((abs(interval.low), abs(interval.high)))]
    value, low, high = (_number(number, digits, sign) for number in numbers)
    return value if math.isnan(interval.low) else f"{value} [{low}, {high}]"


def _metrics(comparison: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = {"pairs": comparison.pairs}
    found |= _finite({"plain": comparison.plain_mean, "batchnorm": comparison.batchnorm_mean})
    for name, interval in (("difference", comparison.difference), ("superiority", comparison.superiority)):
        found[name] = _finite({"value": interval.value, "low": interval.low, "high": interval.high})
    return found


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _diverged(histories: Mapping[Variant, History]) -> list[str]:
    counts = {variant: history.diverged() for variant, history in histories.items()}
    return [
        f"- {count} training{'s' * (count > 1)} diverged ({LABELS[variant]}): the loss became infinite or not a "
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
            values = [history.moments.get(f"{tensor}.{what}") for what in ("mean", "std", "saturated")]
            cells = ["" if value is None else f"{value[:, -1].mean():.3f}" for value in values]
            rows.append(
                f"| {layer.removeprefix('layer')} | {TENSORS[kind]} | {LABELS[variant]} | {' | '.join(cells)} |"
            )
    return rows


def _place(tensor: str) -> tuple[int, int]:
    """Order tensors as the network computes them."""
    layer, kind = tensor.split(".")
    return int(layer.removeprefix("layer")), list(TENSORS).index(kind)
