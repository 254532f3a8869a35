"""The report on normalisers, from hand-made outcomes."""

import math

from pipeline.params import Params, Variant
from studies.normalisers import report as normalisers
from tests.studies.outcomes import check, primary_of, shared_params, swept, table

RATES: dict[Variant, float] = {"plain": 0.01, "batchnorm": 0.0316228, "layernorm": 0.00316228}  # the best ones
TESTED: dict[Variant, float] = {"batchnorm": 0.965, "layernorm": 0.964, "groupnorm": 0.97, "rmsnorm": 0.955}
BEFORE = 0.02  # how much lower all that have a position are before the activation


def is_before(params: Params, variant: Variant) -> bool:
    return params.model.norm_position == "before_activation" and variant not in ("plain", "weightnorm")


def held_out(params: Params, variant: Variant) -> float:
    steps = abs(math.log10(params.train.lr / RATES.get(variant, 0.01)))
    fails = variant == "plain" and params.train.lr > 0.09
    return 0.4 if fails else 0.96 - 0.02 * steps - BEFORE * is_before(params, variant)


def fresh(params: Params, variant: Variant) -> float:
    return TESTED.get(variant, 0.96) - BEFORE * is_before(params, variant)


def test_every_normaliser_is_compared_with_plain_and_with_batch_normalization() -> None:
    results = swept("normalisers", held_out, fresh)
    primary = primary_of("normalisers")
    report = normalisers.report(results, shared_params("normalisers"), [], primary)
    plain = {(row["treatment"], row["position"]): row for row in table(report, "against_plain")}
    names = ("Batch Normalization", "Layer Normalization", "Group Normalization", "RMSNorm")
    places = ("after the activation", "before the activation")
    assert {*plain} == {*((name, place) for name in names for place in places), ("Weight Normalization", "none")}
    best = plain["Layer Normalization", "after the activation"]
    assert (best["treatment: point"], best["control: point"]) == ("0.00316228", "0.01")
    assert (best["difference"], best["pairs"]) == ("0.0040 [0.0040, 0.0040]", "20")
    assert best["verdict"] == "Layer Normalization is better"
    assert plain["RMSNorm", "before the activation"]["difference"] == "-0.0250 [-0.0250, -0.0250]"
    assert plain["RMSNorm", "before the activation"]["verdict"] == "plain is better"
    assert plain["Weight Normalization", "none"]["verdict"] == "equivalent within 0.002"
    batchnorm = {
        (row["treatment"], row["position of the control"]): row["difference"][:7]
        for row in table(report, "against_batchnorm")
    }
    assert batchnorm == {
        **{("Layer Normalization", place): "-0.0010" for place in places},
        **{("Group Normalization", place): "0.0050 " for place in places},
        **{("RMSNorm", place): "-0.0100" for place in places},
        ("Weight Normalization", "after the activation"): "-0.0050",
        ("Weight Normalization", "before the activation"): "0.0150 ",
    }
    pairs = table(report, "pairs")
    assert {row["seed"] for row in pairs if row["outcome"] == primary} == {str(seed) for seed in range(400, 420)}
    assert {row["outcome"] for row in pairs} >= {
        "Layer Normalization against plain, after the activation",
        "Weight Normalization against plain",
        "Weight Normalization against Batch Normalization, after the activation",
    }
    check(report, "normalisers")


def test_networks_without_a_position_are_drawn_once() -> None:
    report = normalisers.report(swept("normalisers", held_out, fresh), shared_params("normalisers"), [], None)
    rates, differences = report.figures["rates"], report.figures["differences"]
    assert [axis.get_title() for axis in rates.axes] == ["after the activation", "before the activation", "no position"]
    drawn = [[line for line in axis.lines if line.get_linestyle() != "None"] for axis in rates.axes]
    assert [len(lines) for lines in drawn] == [4, 4, 2]
    (legend,) = rates.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert len(words) == 8
    assert words[-2:] == ["chosen on the held-out images", "some or all trainings failed"]
    (axis,) = differences.axes
    assert [label.get_text() for label in axis.get_yticklabels()][-1] == "Weight Normalization"
    assert len(axis.get_yticklabels()) == 9
