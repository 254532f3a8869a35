"""The comparison as numbers and as a written answer, which also says when no difference is shown."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.analysis.figures import TENSORS, VARIANT_NAMES
from pipeline.analysis.statistics import LEARNED, Comparison, Interval, Proportion
from pipeline.analysis.tables import (
    format_failures,
    format_interval,
    format_number,
    format_p,
    format_proportion,
    format_quartiles,
    markdown_table,
)
from pipeline.analysis.verdicts import Judgement, Question, judge, rule
from pipeline.analysis.wording import OPTIMIZERS, count_of
from pipeline.network.perceptron import widths
from pipeline.params import VARIANTS, Evaluate, Params, Variant
from pipeline.training.history import History

OUTCOMES = {
    "test/accuracy": "test accuracy",
    "test/loss": "test loss",
    "validation/accuracy_after_epoch_1": "validation accuracy after epoch 1",
    "train/loss_mean_over_iterations": "training loss, averaged over all iterations,",
}
PRIMARY = "test/accuracy"  # the outcome that is judged without correction

_number = partial(format_number, missing="–")
_interval = partial(format_interval, missing="–")


@dataclass(frozen=True)
class Finding:
    """What the comparison has found.

    Attributes:
        comparisons: Batch Normalization against plain, by outcome: the keys of `OUTCOMES`.
        failures: How many trainings of each variant failed: a test accuracy below 0.9, or diverged.
        diverged: How many of these diverged.
        new_images: Difference of the test accuracies, with an interval for new seeds and new test images.
    """

    comparisons: Mapping[str, Comparison]
    failures: Mapping[Variant, Proportion]
    diverged: Mapping[Variant, int]
    new_images: Interval


def judge_outcomes(finding: Finding, settings: Evaluate) -> dict[str, Judgement]:
    """Judge every outcome; the margin is one of accuracies."""
    questions = {
        name: Question(comparison, margin=settings.margin if "accuracy" in name else None)
        for name, comparison in finding.comparisons.items()
    }
    return judge(questions, PRIMARY, settings.confidence)


def to_metrics(finding: Finding) -> dict[str, Any]:
    """Return the answer in few numbers: mean test accuracies, their difference with its interval, and failures."""
    accuracy = finding.comparisons[PRIMARY]
    difference = accuracy.difference
    return {
        **_finite({"plain": accuracy.control.mean.value, "batchnorm": accuracy.treatment.mean.value}),
        **_finite({"difference": difference.value, "low": difference.low, "high": difference.high}),
        "failed": {variant: int(failed.count) for variant, failed in finding.failures.items()},
    }


def to_numbers(finding: Finding, judgements: Mapping[str, Judgement]) -> dict[str, Any]:
    """Return all that was found as nested numbers; those that are not finite are left out."""
    numbers: dict[str, Any] = {}
    for name, comparison in finding.comparisons.items():
        section, outcome = name.split("/")
        numbers.setdefault(section, {})[outcome] = _numbers(comparison, judgements[name])
    accuracy = numbers["test"]["accuracy"]
    accuracy["failures"] = {variant: _proportion(failed) for variant, failed in finding.failures.items()}
    accuracy["diverged"] = dict(finding.diverged)
    accuracy["new_images"] = _finite({"low": finding.new_images.low, "high": finding.new_images.high})
    return numbers


def to_markdown(
    params: Params, finding: Finding, judgements: Mapping[str, Judgement], histories: Mapping[Variant, History]
) -> str:
    """Return the written answer.

    Args:
        params: The settings of the trainings and their evaluation.
        finding: What was found.
        judgements: The verdict on each outcome.
        histories: Both variants' trainings.
    """
    confidence = f"{100 * params.evaluate.confidence:g} %"
    lines = [
        "# What does Batch Normalization change?",
        "",
        headline(params, finding, judgements[PRIMARY]),
        "",
        "Each row compares the same seeds, means over pairs; differences are Batch Normalization minus plain, with "
        f"Student's {confidence} intervals. p is that of an exact sign-flip test. Wins are the pairs in which Batch "
        "Normalization has the greater value, with Clopper and Pearson's interval for the probability of that "
        "(Wilson's if there are ties, which count half).",
        "",
        *_comparisons(finding.comparisons),
        "",
        f"Means hide networks that do not learn. A training has failed if its test accuracy is below {LEARNED:g}, or "
        "if it diverged; those that diverged have no accuracy.",
        "",
        *_variants(finding),
        "",
        "In words:",
        "",
        *(f"- {_sentence(name, finding.comparisons[name], judgements[name])}" for name in finding.comparisons),
        *_more(finding),
        "",
        rule(OUTCOMES[PRIMARY], params.evaluate.margin),
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


def headline(params: Params, finding: Finding, judgement: Judgement) -> str:
    """Return the setting and both test accuracies in one sentence."""
    accuracy, train, size = finding.comparisons["test/accuracy"], params.train, "-".join(map(str, widths(params.model)))
    failed = {variant: f"{count.count:g} of {count.total} failed" for variant, count in finding.failures.items()}
    setting = (
        f"With {OPTIMIZERS[train.optimizer]} at learning rate {train.lr:g}, batches of {train.batch_size} and "
        f"{count_of(train.epochs, 'epoch')}, the {size} {params.model.activation} network reaches "
        "a mean test accuracy of "
        f"{_number(accuracy.treatment.mean.value)} with Batch Normalization ({failed['batchnorm']}) and "
        f"{_number(accuracy.control.mean.value)} without ({failed['plain']})"
    )
    return f"{setting}: {_ending(accuracy, judgement.verdict)}."


def _comparisons(comparisons: Mapping[str, Comparison]) -> list[str]:
    rows = [
        [
            OUTCOMES[name].rstrip(","),
            str(comparison.pairs),
            _number(comparison.control.mean.value),
            _number(comparison.treatment.mean.value),
            _interval(comparison.difference, sign="+"),
            format_p(comparison.sign_flip, missing="–"),
            format_proportion(comparison.wins, missing="–"),
        ]
        for name, comparison in comparisons.items()
    ]
    return _unnamed(["", "pairs", "plain", "Batch Normalization", "difference", "p", "wins"], rows)


def _variants(finding: Finding) -> list[str]:
    accuracy = finding.comparisons["test/accuracy"]
    rows = [
        [
            VARIANT_NAMES[variant],
            str(finding.failures[variant].total),
            format_failures(finding.failures[variant], finding.diverged[variant]),
            format_quartiles(summary, missing="–"),
            _interval(summary.mean),
        ]
        for variant, summary in zip(VARIANTS, (accuracy.control, accuracy.treatment), strict=True)
    ]
    return _unnamed(["", "trainings", "failed", "median test accuracy (quartiles)", "mean"], rows)


def _unnamed(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table whose first column has no name."""
    heading, *others = markdown_table(header, rows)
    return [heading.replace("|  |", "| |"), *others]


def _ending(comparison: Comparison, verdict: str) -> str:
    pairs = f"{count_of(comparison.pairs, 'pair')} of trainings"
    if comparison.pairs < 2:
        return f"{pairs}, too few for an interval"
    difference = f"a difference of {_interval(comparison.difference, sign='+')}, over {pairs}"
    return difference if verdict in ("higher", "lower") else f"{difference}: {verdict}"


def _sentence(name: str, comparison: Comparison, judgement: Judgement) -> str:
    name = OUTCOMES[name][0].upper() + OUTCOMES[name][1:]
    direction, _, rest = judgement.verdict.partition(", but ")
    if direction not in ("higher", "lower"):
        return f"{name.rstrip(',')}: {direction}."
    remark = f": {rest}" if rest else ""
    return f"{name} is {direction} with Batch Normalization, by {_interval(_magnitude(comparison.difference))}{remark}."


def _more(finding: Finding) -> list[str]:
    """Say what is known of test accuracies beyond their mean difference."""
    accuracy = finding.comparisons["test/accuracy"]
    lines = []
    if accuracy.learned:
        among, count = accuracy.learned
        value = f", the difference is {_interval(among, sign='+')}" if count else ": none"
        lines.append(f"- Where both networks learn ({count_of(count, 'pair')}){value}.")
    if math.isfinite(finding.new_images.low):
        lines.append(
            "- For new digits, seeds and test images both drawn anew, the difference is "
            f"{_interval(finding.new_images, sign='+')}."
        )
    if math.isfinite(accuracy.correlation):
        lines.append(f"- The test accuracies of a pair have a correlation of {accuracy.correlation:.2f}.")
    return lines


def _magnitude(interval: Interval) -> Interval:
    """Return the magnitude of a difference whose interval excludes 0."""
    low, high = sorted((abs(interval.low), abs(interval.high)))
    return Interval(abs(interval.value), low, high)


def _numbers(comparison: Comparison, judgement: Judgement) -> dict[str, Any]:
    difference, sides = comparison.difference, (("plain", comparison.control), ("batchnorm", comparison.treatment))
    return {
        "pairs": comparison.pairs,
        **_finite({name: summary.mean.value for name, summary in sides}),
        "median": _finite({name: summary.median for name, summary in sides}),
        "lower_quartile": _finite({name: summary.lower_quartile for name, summary in sides}),
        "upper_quartile": _finite({name: summary.upper_quartile for name, summary in sides}),
        "difference": _finite({"value": difference.value, "low": difference.low, "high": difference.high}),
        **_finite({"p": judgement.p, "p_sign_flip": comparison.sign_flip, "correlation": comparison.correlation}),
        "wins": _proportion(comparison.wins),
    }


def _proportion(proportion: Proportion) -> dict[str, float]:
    numbers = {"count": proportion.count, "of": proportion.total, "low": proportion.low, "high": proportion.high}
    return _finite(numbers)


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


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
