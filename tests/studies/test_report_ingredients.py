"""The report on the parts of Batch Normalization, from hand-made outcomes."""

import math

import numpy as np

from pipeline.params import Params, Variant
from studies.ingredients import report as ingredients
from tests.studies.outcomes import check, primary_of, shared_params, swept, table

TESTED = {"all": 0.965, "mean only": 0.9645, "variance only": 0.955, "no scale and shift": 0.97}
PLAIN_BEST = 0.316228  # a learning rate that only one of the grids has


def kind(params: Params) -> str:
    model = params.model
    return ingredients.KINDS[model.recentre, model.rescale, model.affine, params.train.weights]


def held_out(params: Params, variant: Variant) -> float:
    best = PLAIN_BEST if variant == "plain" else 0.0316228 if kind(params) == "mean only" else 0.01
    return 0.95 - 0.01 * abs(math.log10(params.train.lr / best))


def fresh(params: Params, variant: Variant) -> float:
    if variant == "plain":
        return 0.95 if math.isclose(params.train.lr, PLAIN_BEST) else 0.93
    return TESTED.get(kind(params), 0.6)


def test_each_part_is_compared_with_all_and_with_plain_at_its_own_best_rate() -> None:
    primary = primary_of("ingredients")
    results = swept("ingredients", held_out, fresh)
    report = ingredients.report(results, shared_params("ingredients"), [], primary)
    against_all = {row["treatment"]: row for row in table(report, "against_all")}
    assert [*against_all] == [name for name in ingredients.KINDS.values() if name != "all"]
    mean = against_all["mean only"]
    assert (mean["treatment: point"], mean["control: point"], mean["pairs"]) == ("0.0316228", "0.01", "20")
    assert (mean["difference"], mean["verdict"]) == (
        "-0.0005 [-0.0005, -0.0005]",
        "all is better, but equivalent within 0.002",
    )
    assert against_all["no scale and shift"]["verdict"] == "no scale and shift is better"
    only = against_all["only Batch Normalization trained"]
    assert (only["difference"], only["treatment: failed"]) == ("-0.3650 [-0.3650, -0.3650]", "20/20 [0.83, 1.00]")
    against_plain = {row["treatment"]: row for row in table(report, "against_plain")}
    assert [*against_plain] == [*ingredients.KINDS.values()]
    assert {row["control: point"] for row in against_plain.values()} == {"0.316228"}
    assert against_plain["all"]["difference"] == "0.0150 [0.0150, 0.0150]"
    names = {row["outcome"] for row in table(report, "pairs")}
    assert names == {f"{name} against {other}" for other in ("all", "plain") for name in against_plain if name != other}
    axes = report.figures["differences"].axes
    assert [len(axis.get_yticklabels()) for axis in axes] == [4, 5]
    check(report, "ingredients")


def test_weights_are_counted_in_the_network() -> None:
    results = swept("ingredients", held_out, fresh)
    for hidden, scales, weights in (("100,100", "400", "89,610"), ("5,4", "18", "3,999")):
        report = ingredients.report(results, shared_params("ingredients", hidden=hidden), [], None)
        told = f"{scales} scales and shifts are learned, and {weights} weights and biases stay as they were drawn"
        assert any(told in line for line in report.lines)


def test_the_plain_network_has_a_point_for_each_rate_of_any_grid() -> None:
    report = ingredients.report(swept("ingredients", held_out, fresh), shared_params("ingredients"), [], None)
    (axis,) = report.figures["rates"].axes
    lines = [line for line in axis.lines if line.get_linestyle() != "None"]
    assert len(lines) == 6
    assert [np.size(line.get_xdata()) for line in lines] == [5, 5, 5, 5, 5, 7]
