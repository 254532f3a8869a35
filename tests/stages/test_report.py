"""The written answer agrees with the numbers, also when they show no difference."""

import json
import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.analysis.statistics import Comparison, Interval, compare
from pipeline.params import Params, Variant
from pipeline.stages.evaluate.report import OUTCOMES, headline, to_markdown, to_metrics
from pipeline.training.history import History

NAN = float("nan")
HIGHER = Comparison(10, 0.9712, 0.9345, Interval(0.0367, 0.0301, 0.0433), Interval(1.0, 1.0, 1.0))
LOWER = Comparison(10, 0.21, 0.95, Interval(-0.74, -0.81234, -0.65), Interval(0.0, 0.0, 0.0))
UNCLEAR = Comparison(10, 0.5, 0.49, Interval(0.01, -0.02, 0.04), Interval(0.55, 0.25, 0.85))
ONE = Comparison(1, 0.9, 0.8, Interval(0.1, NAN, NAN), Interval(1.0, NAN, NAN))
NONE = Comparison(0, NAN, NAN, Interval(NAN, NAN, NAN), Interval(NAN, NAN, NAN))


def compared(accuracy: Comparison, loss: Comparison = LOWER) -> dict[str, Comparison]:
    others = dict.fromkeys(OUTCOMES, UNCLEAR)
    return others | {"test/accuracy": accuracy, "test/loss": loss}


def history(variant: Variant, diverged: int = 0, seeds: int = 3) -> History:
    """Two layers, two epochs; moments are the number of the epoch and seed over ten."""
    loss = np.ones((seeds, 4))
    loss[:diverged, 2] = NAN
    kinds = ["activation", "pre_activation", *(["normalised"] if variant == "batchnorm" else [])]
    tensors = [f"layer{layer}.{kind}" for layer in (1, 2) for kind in kinds]
    values = np.arange(3) + np.arange(seeds)[:, None] / 10
    moments = {
        f"{tensor}.{what}": values
        for tensor in tensors
        for what in ("mean", "std", "saturated")
        if not (what == "saturated" and tensor.endswith("normalised"))
    }
    ones = np.ones((seeds, 3))
    counts = {tensor: np.ones((seeds, 3, 100), np.int64) for tensor in tensors}
    return History(tuple(range(seeds)), loss, ones, ones, counts, moments)


def histories(plain: int = 0, batchnorm: int = 0) -> dict[Variant, History]:
    return {"plain": history("plain", plain), "batchnorm": history("batchnorm", batchnorm)}


def line(text: str, start: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith(start)]
    assert len(lines) == 1, lines
    return lines[0]


def test_the_headline_has_the_setting_and_both_accuracies(params: Callable[..., Params]) -> None:
    assert headline(params(), HIGHER) == (
        "With Adam at learning rate 0.1, batches of 2000 and 5 epochs, the 784-100-100-10 sigmoid network reaches a "
        "mean test accuracy of 0.9712 with Batch Normalization and 0.9345 without: a difference of "
        "+0.0367 [+0.0301, +0.0433], over 10 pairs of trainings."
    )
    other = headline(params(hidden="7", lr="1e-3", optimizer="sgd", activation="relu", epochs="1"), HIGHER)
    assert "With SGD at learning rate 0.001, " in other
    assert "the 784-7-10 relu network" in other


@pytest.mark.parametrize(
    ("comparison", "ending"),
    [
        (HIGHER, "a difference of +0.0367 [+0.0301, +0.0433], over 10 pairs of trainings."),
        (LOWER, "a difference of -0.7400 [-0.8123, -0.6500], over 10 pairs of trainings."),
        (UNCLEAR, "+0.0100 [-0.0200, +0.0400], over 10 pairs of trainings: no difference is shown."),
        (ONE, "0.9000 with Batch Normalization and 0.8000 without: 1 pair of trainings, too few for an interval."),
        (NONE, ": 0 pairs of trainings, too few for an interval."),
    ],
)
def test_the_headline_ends_in_the_finding(params: Callable[..., Params], comparison: Comparison, ending: str) -> None:
    sentence = headline(params(), comparison)
    assert sentence.endswith(ending)
    assert ("no difference" in sentence) == (comparison is UNCLEAR)


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (HIGHER, "- Test accuracy is higher with Batch Normalization, by 0.0367 [0.0301, 0.0433]."),
        (LOWER, "- Test accuracy is lower with Batch Normalization, by 0.7400 [0.6500, 0.8123]."),
        (UNCLEAR, "- Test accuracy: no difference is shown."),
        (ONE, "- Test accuracy: too few pairs to tell."),
        (NONE, "- Test accuracy: too few pairs to tell."),
    ],
)
def test_every_outcome_has_its_sentence(params: Callable[..., Params], comparison: Comparison, sentence: str) -> None:
    text = to_markdown(params(), compared(comparison), histories())
    assert line(text, "- Test accuracy") == sentence
    assert line(text, "- Test loss") == "- Test loss is lower with Batch Normalization, by 0.7400 [0.6500, 0.8123]."
    assert line(text, "- Validation") == ("- Validation accuracy after epoch 1: no difference is shown.")
    assert line(text, "- Training loss") == ("- Training loss, averaged over all iterations: no difference is shown.")


def test_a_longer_name_keeps_its_commas_in_a_sentence(params: Callable[..., Params]) -> None:
    text = to_markdown(params(), compared(HIGHER) | {"train/loss_mean_over_iterations": LOWER}, histories())
    assert line(text, "- Training loss") == (
        "- Training loss, averaged over all iterations, is lower with Batch Normalization, by 0.7400 [0.6500, 0.8123]."
    )


@pytest.mark.parametrize("bounds", [(0.0, 0.02), (-0.02, 0.0), (0.0, 0.0)])
def test_an_interval_that_touches_zero_shows_no_difference(
    params: Callable[..., Params], bounds: tuple[float, float]
) -> None:
    comparison = Comparison(10, 0.5, 0.49, Interval(sum(bounds) / 2, *bounds), UNCLEAR.superiority)
    text = to_markdown(params(), compared(comparison), histories())
    assert "no difference is shown" in line(text, "- Test accuracy")
    assert "no difference is shown" in line(text, "With Adam")


def test_the_table_has_the_numbers_of_the_comparisons(params: Callable[..., Params]) -> None:
    text = to_markdown(params(), compared(UNCLEAR, ONE), histories())
    unclear = "10 | 0.4900 | 0.5000 | +0.0100 [-0.0200, +0.0400] | 0.55 [0.25, 0.85] |"
    assert line(text, "| test accuracy ") == f"| test accuracy | {unclear}"
    assert line(text, "| test loss ") == "| test loss | 1 | 0.8000 | 0.9000 | +0.1000 | 1.00 |"
    assert line(text, "| | pairs ") == "| | pairs | plain | Batch Normalization | difference | P(greater) |"
    assert line(text, "| training loss") == f"| training loss, averaged over all iterations | {unclear}"
    assert "with 95 % bootstrap intervals" in text
    assert "with 99.9 % bootstrap intervals" in to_markdown(params(confidence="0.999"), compared(HIGHER), histories())


def test_trainings_that_diverged_are_mentioned(params: Callable[..., Params]) -> None:
    assert "diverged" not in to_markdown(params(), compared(HIGHER), histories())
    text = to_markdown(params(), compared(HIGHER), histories(plain=1, batchnorm=2))
    rest = (
        ": the loss became infinite or not a number. Comparisons of losses leave such pairs out; accuracies count, "
        "as those of a constant answer."
    )
    assert line(text, "- 1 training ") == f"- 1 training diverged (plain){rest}"
    assert line(text, "- 2 trainings ") == f"- 2 trainings diverged (Batch Normalization){rest}"


def test_the_activations_are_those_after_the_last_epoch(params: Callable[..., Params]) -> None:
    text = to_markdown(params(), compared(HIGHER), histories())
    for layer in (1, 2):
        for variant in ("plain", "Batch Normalization"):
            for kind in ("pre-activation", "activation"):
                assert line(text, f"| {layer} | {kind} | {variant} |").endswith("| 2.100 | 2.100 | 2.100 |")
        assert line(text, f"| {layer} | normalised output | Batch N").endswith("| 2.100 | 2.100 |  |")
        assert f"| {layer} | normalised output | plain |" not in text


def test_every_table_is_rectangular(params: Callable[..., Params]) -> None:
    text = to_markdown(params(), compared(HIGHER, NONE), histories(plain=3))
    tables = [rows.splitlines() for rows in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    assert len(tables) == 2
    for rows in tables:
        assert len({row.count("|") for row in rows}) == 1
        assert set(rows[1]) == set("| -")


def test_metrics_are_nested_and_are_those_of_the_comparison() -> None:
    metrics = to_metrics({"test/accuracy": HIGHER, "test/loss": ONE, "validation/accuracy_after_epoch_1": UNCLEAR})
    assert metrics == {
        "test": {
            "accuracy": {
                "plain": 0.9345,
                "batchnorm": 0.9712,
                "pairs": 10,
                "difference": {"value": 0.0367, "low": 0.0301, "high": 0.0433},
                "superiority": {"value": 1.0, "low": 1.0, "high": 1.0},
            },
            "loss": {
                "plain": 0.8,
                "batchnorm": 0.9,
                "pairs": 1,
                "difference": {"value": 0.1},
                "superiority": {"value": 1.0},
            },
        },
        "validation": {
            "accuracy_after_epoch_1": {
                "plain": 0.49,
                "batchnorm": 0.5,
                "pairs": 10,
                "difference": {"value": 0.01, "low": -0.02, "high": 0.04},
                "superiority": {"value": 0.55, "low": 0.25, "high": 0.85},
            }
        },
    }


@pytest.mark.parametrize("comparison", [HIGHER, UNCLEAR, ONE])
def test_metrics_have_no_value_that_json_lacks(comparison: Comparison) -> None:
    text = json.dumps(to_metrics(compared(comparison)), allow_nan=False)
    assert not math.isnan(json.loads(text)["test"]["accuracy"]["plain"])


@pytest.mark.parametrize("comparison", [NONE, compare(np.array([NAN]), np.array([1.0]), 0.95, 100)])
def test_metrics_without_a_pair_are_left_out(comparison: Comparison) -> None:
    text = json.dumps(to_metrics({"test/accuracy": comparison}), allow_nan=False)
    assert json.loads(text) == {"test": {"accuracy": {"pairs": 0, "difference": {}, "superiority": {}}}}
