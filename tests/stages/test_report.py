"""The written answer agrees with the numbers, also when they show no difference."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.statistics import Comparison, Interval, Summary, compare, failures, proportion
from pipeline.params import Params, Variant
from pipeline.stages.evaluate.report import (
    OUTCOMES,
    PRIMARY,
    Finding,
    headline,
    judge_outcomes,
    to_markdown,
    to_metrics,
    to_numbers,
)
from pipeline.training.history import History

NAN = float("nan")
Make = Callable[..., Params]


def summary(mean: float, pairs: int = 10) -> Summary:
    bounds = (mean - 0.1, mean + 0.1) if pairs > 1 else (NAN, NAN)
    return Summary(pairs, Interval(mean, *bounds), mean - 0.02, mean + 0.01, mean + 0.03)


def comparison(treatment: float, control: float, half: float, pairs: int = 10, wins: float = 10) -> Comparison:
    """A comparison whose 95 % interval is `half` wide on each side of the difference."""
    difference = treatment - control
    deviation = half / 2.2621571628 * math.sqrt(pairs) if pairs > 1 else NAN  # Student's t, 9 degrees of freedom
    interval = Interval(difference, difference - half, difference + half)
    share = proportion(wins, pairs, 0.95)
    p = 0.00195 if pairs > 1 else 1.0
    return Comparison(pairs, summary(treatment, pairs), summary(control, pairs), interval, deviation, p, share, -0.034)


HIGHER = comparison(0.9712, 0.9345, 0.0066)
LOWER = comparison(0.21, 0.95, 0.0812, wins=0)
UNCLEAR = comparison(0.5, 0.49, 0.03, wins=5)
CLOSE = comparison(0.9601, 0.96, 0.0015, wins=5)
ONE = comparison(0.9, 0.8, NAN, pairs=1, wins=1)
NONE = compare(np.array([NAN]), np.array([1.0]), 0.95)


def found(
    accuracy: Comparison,
    loss: Comparison = LOWER,
    *,
    plain: int = 0,
    batchnorm: int = 0,
    others: Mapping[str, Comparison] | None = None,
) -> Finding:
    """Of ten trainings of each variant, the given numbers have diverged; one more has failed of plain."""
    comparisons = dict.fromkeys(OUTCOMES, UNCLEAR) | {"test/accuracy": accuracy, "test/loss": loss, **(others or {})}
    failed: dict[Variant, int] = {"plain": plain + 1, "batchnorm": batchnorm}
    return Finding(
        comparisons,
        {variant: proportion(count, 10, 0.95) for variant, count in failed.items()},
        {"plain": plain, "batchnorm": batchnorm},
        Interval(0.0367, 0.0298, 0.0436),
    )


def markdown(params: Params, finding: Finding) -> str:
    return to_markdown(params, finding, judge_outcomes(finding, params.evaluate), histories())


def sentence(params: Params, finding: Finding) -> str:
    return headline(params, finding, judge_outcomes(finding, params.evaluate)[PRIMARY])


def numbers(params: Params, finding: Finding) -> dict[str, dict[str, dict[str, object]]]:
    return to_numbers(finding, judge_outcomes(finding, params.evaluate))


def history(variant: Variant, seeds: int = 3) -> History:
    """Two layers, two epochs; moments are the number of the epoch and seed over ten."""
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
    return History(tuple(range(seeds)), np.ones((seeds, 4)), ones, ones, counts, moments)


def histories() -> dict[Variant, History]:
    return {"plain": history("plain"), "batchnorm": history("batchnorm")}


def line(text: str, start: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith(start)]
    assert len(lines) == 1, lines
    return lines[0]


def test_the_headline_has_the_setting_both_accuracies_and_failures(params: Make) -> None:
    assert sentence(params(), found(HIGHER)) == (
        "With Adam at learning rate 0.1, batches of 2000 and 5 epochs, the 784-100-100-10 sigmoid network reaches a "
        "mean test accuracy of 0.9712 with Batch Normalization (0 of 10 failed) and 0.9345 without (1 of 10 failed): a "
        "difference of +0.0367 [+0.0301, +0.0433], over 10 pairs of trainings."
    )
    other = sentence(params(hidden="7", lr="1e-3", optimizer="sgd", activation="relu", epochs="1"), found(HIGHER))
    assert "With SGD at learning rate 0.001, " in other
    assert "the 784-7-10 relu network" in other


@pytest.mark.parametrize(
    ("accuracy", "ending"),
    [
        (HIGHER, "a difference of +0.0367 [+0.0301, +0.0433], over 10 pairs of trainings."),
        (LOWER, "a difference of -0.7400 [-0.8212, -0.6588], over 10 pairs of trainings."),
        (UNCLEAR, "+0.0100 [-0.0200, +0.0400], over 10 pairs of trainings: no difference is shown."),
        (CLOSE, "+0.0001 [-0.0014, +0.0016], over 10 pairs of trainings: equivalent within 0.002."),
        (ONE, "0.8000 without (1 of 10 failed): 1 pair of trainings, too few for an interval."),
        (NONE, ": 0 pairs of trainings, too few for an interval."),
    ],
)
def test_the_headline_ends_in_the_finding(params: Make, accuracy: Comparison, ending: str) -> None:
    assert sentence(params(), found(accuracy)).endswith(ending)


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (HIGHER, "- Test accuracy is higher with Batch Normalization, by 0.0367 [0.0301, 0.0433]."),
        (LOWER, "- Test accuracy is lower with Batch Normalization, by 0.7400 [0.6588, 0.8212]."),
        (UNCLEAR, "- Test accuracy: no difference is shown."),
        (CLOSE, "- Test accuracy: equivalent within 0.002."),
        (
            comparison(0.961, 0.96, 0.0005),
            "- Test accuracy is higher with Batch Normalization, by 0.0010 [0.0005, 0.0015]: equivalent within 0.002.",
        ),
        (ONE, "- Test accuracy: too few pairs to tell."),
        (NONE, "- Test accuracy: no verdict: no pair to compare."),
    ],
)
def test_every_outcome_has_its_sentence(params: Make, accuracy: Comparison, expected: str) -> None:
    text = markdown(params(), found(accuracy))
    assert line(text, "- Test accuracy") == expected
    assert line(text, "- Test loss") == "- Test loss is lower with Batch Normalization, by 0.7400 [0.6588, 0.8212]."
    assert line(text, "- Validation") == ("- Validation accuracy after epoch 1: no difference is shown.")
    assert line(text, "- Training loss") == ("- Training loss, averaged over all iterations: no difference is shown.")


def test_a_longer_name_keeps_its_commas_in_a_sentence(params: Make) -> None:
    text = markdown(params(), found(HIGHER, others={"train/loss_mean_over_iterations": LOWER}))
    assert line(text, "- Training loss") == (
        "- Training loss, averaged over all iterations, is lower with Batch Normalization, by 0.7400 [0.6588, 0.8212]."
    )


def test_outcomes_other_than_test_accuracy_are_corrected(params: Make) -> None:
    weak = comparison(0.9, 0.8, 0.09)  # its own interval excludes 0, Holm's correction for three does not
    text = markdown(params(), found(weak, weak))
    assert line(text, "- Test accuracy").startswith("- Test accuracy is higher")
    assert line(text, "- Test loss") == "- Test loss: no difference is shown."


def test_a_margin_is_one_of_accuracies(params: Make) -> None:
    text = markdown(params(), found(CLOSE, CLOSE))
    assert line(text, "- Test loss") == "- Test loss: no difference is shown."


def test_the_table_has_the_numbers_of_the_comparisons(params: Make) -> None:
    text = markdown(params(), found(UNCLEAR, ONE))
    unclear = "10 | 0.4900 | 0.5000 | +0.0100 [-0.0200, +0.0400] | 0.0019 | 5/10 [0.19, 0.81] |"
    assert line(text, "| test accuracy ") == f"| test accuracy | {unclear}"
    assert line(text, "| test loss ") == "| test loss | 1 | 0.8000 | 0.9000 | +0.1000 | 1 | 1/1 [0.03, 1.00] |"
    assert line(text, "| | pairs ") == "| | pairs | plain | Batch Normalization | difference | p | wins |"
    assert line(text, "| training loss") == f"| training loss, averaged over all iterations | {unclear}"
    assert "with Student's 95 % intervals" in text
    assert "with Student's 99.9 % intervals" in markdown(params(confidence="0.999"), found(HIGHER))


def test_failures_and_medians_are_beside_the_means(params: Make) -> None:
    text = markdown(params(), found(HIGHER, plain=2))
    assert line(text, "| plain |") == (
        "| plain | 10 | 3/10 [0.07, 0.65], 2 diverged | 0.9445 (0.9145 to 0.9645) | 0.9345 [0.8345, 1.0345] |"
    )
    assert line(text, "| Batch Normalization |") == (
        "| Batch Normalization | 10 | 0/10 [0.00, 0.31] | 0.9812 (0.9512 to 1.0012) | 0.9712 [0.8712, 1.0712] |"
    )


def test_what_is_known_beyond_the_mean_difference_is_said(params: Make) -> None:
    text = markdown(params(), found(HIGHER))
    assert "both networks learn" not in text
    assert line(text, "- For new digits").endswith("is +0.0367 [+0.0298, +0.0436].")
    assert (
        line(text, "- The test accuracies of a pair") == "- The test accuracies of a pair have a correlation of -0.03."
    )
    some = markdown(params(), found(replace(HIGHER, learned=(Interval(0.01, 0.005, 0.015), 4))))
    assert line(some, "- Where") == (
        "- Where both networks learn (4 pairs), the difference is +0.0100 [+0.0050, +0.0150]."
    )
    none = markdown(params(), found(replace(HIGHER, learned=(Interval(NAN, NAN, NAN), 0))))
    assert line(none, "- Where") == "- Where both networks learn (0 pairs): none."


def test_the_activations_are_those_after_the_last_epoch(params: Make) -> None:
    text = markdown(params(), found(HIGHER))
    for layer in (1, 2):
        for variant in ("plain", "Batch Normalization"):
            for kind in ("pre-activation", "activation"):
                assert line(text, f"| {layer} | {kind} | {variant} |").endswith("| 2.100 | 2.100 | 2.100 |")
        assert line(text, f"| {layer} | normalised output | Batch N").endswith("| 2.100 | 2.100 |  |")
        assert f"| {layer} | normalised output | plain |" not in text


def test_every_table_is_rectangular(params: Make) -> None:
    text = markdown(params(), found(HIGHER, NONE, plain=3))
    tables = [rows.splitlines() for rows in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    assert len(tables) == 3
    for rows in tables:
        assert len({row.count("|") for row in rows}) == 1
        assert set(rows[1]) == set("| -")


def test_metrics_are_the_answer_in_few_numbers() -> None:
    assert to_metrics(found(HIGHER, ONE)) == {
        "plain": 0.9345,
        "batchnorm": 0.9712,
        "difference": pytest.approx(0.0367),
        "low": pytest.approx(0.0301),
        "high": pytest.approx(0.0433),
        "failed": {"plain": 1, "batchnorm": 0},
    }
    assert set(to_metrics(found(ONE))) == {"plain", "batchnorm", "difference", "failed"}
    assert to_metrics(found(NONE)) == {"failed": {"plain": 1, "batchnorm": 0}}


def test_numbers_are_nested_and_are_those_of_the_comparison(params: Make) -> None:
    all_numbers = numbers(params(), found(HIGHER, ONE))
    accuracy = all_numbers["test"]["accuracy"]
    assert accuracy == {
        "pairs": 10,
        "plain": 0.9345,
        "batchnorm": 0.9712,
        "median": {"plain": 0.9445, "batchnorm": 0.9812},
        "lower_quartile": {"plain": pytest.approx(0.9145), "batchnorm": pytest.approx(0.9512)},
        "upper_quartile": {"plain": pytest.approx(0.9645), "batchnorm": pytest.approx(1.0012)},
        "difference": {"value": pytest.approx(0.0367), "low": pytest.approx(0.0301), "high": pytest.approx(0.0433)},
        "p": pytest.approx(HIGHER.p()),
        "p_sign_flip": 0.00195,
        "correlation": -0.034,
        "wins": {"count": 10, "of": 10, "low": pytest.approx(0.6915, abs=1e-4), "high": 1.0},
        "failures": {
            "plain": {
                "count": 1,
                "of": 10,
                "low": pytest.approx(0.0025, abs=1e-4),
                "high": pytest.approx(0.445, abs=1e-3),
            },
            "batchnorm": {"count": 0, "of": 10, "low": 0.0, "high": pytest.approx(0.3085, abs=1e-4)},
        },
        "diverged": {"plain": 0, "batchnorm": 0},
        "new_images": {"low": 0.0298, "high": 0.0436},
    }
    assert all_numbers["test"]["loss"]["difference"] == {"value": pytest.approx(0.1)}
    assert "p" not in all_numbers["test"]["loss"]
    assert set(all_numbers["validation"]) == {"accuracy_after_epoch_1"}


@pytest.mark.parametrize("accuracy", [HIGHER, UNCLEAR, ONE])
def test_numbers_have_no_value_that_json_lacks(params: Make, accuracy: Comparison) -> None:
    text = json.dumps(numbers(params(), found(accuracy)), allow_nan=False)
    assert not math.isnan(json.loads(text)["test"]["accuracy"]["plain"])


def test_numbers_without_a_pair_are_left_out(params: Make) -> None:
    loss = json.loads(json.dumps(numbers(params(), found(NONE, NONE)), allow_nan=False))["test"]["loss"]
    assert loss["pairs"] == 0
    assert loss["difference"] == loss["median"] == {}
    assert loss["wins"] == {"count": 0, "of": 0}
    assert failures(np.array([NAN]), 0.95).count == 1
