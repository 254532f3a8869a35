"""The report on other images, from hand-made outcomes."""

import math

import pytest

from pipeline.params import Params, Variant
from studies.replication import report as replication
from tests.studies.outcomes import check, primary_of, shared_params, swept, table


def is_fashion(params: Params) -> bool:
    return params.data.dataset == "fashion_mnist"


def held_out(params: Params, variant: Variant) -> float:
    if math.isclose(params.train.lr, 0.1) and params.train.optimizer == "adam" and variant == "plain":
        return 0.5
    return 0.95 - 0.1 * is_fashion(params) - 0.01 * abs(math.log10(params.train.lr / 0.01))


def fresh(params: Params, variant: Variant) -> float:
    """With ReLU, the better position depends on the images."""
    base = 0.96 - 0.1 * is_fashion(params)
    if variant == "plain":
        return base
    is_after = params.model.norm_position == "after_activation"
    swapped = params.model.activation == "relu" and is_fashion(params)
    return base + (0.01 if is_after != swapped else 0.005)


def test_each_finding_is_judged_on_each_set_of_images() -> None:
    primary = primary_of("replication")
    report = replication.report(swept("replication", held_out, fresh), shared_params("replication"), [], primary)
    findings = [
        "Adam, sigmoid: tuned difference",
        "SGD, sigmoid: tuned difference",
        *(f"Adam, {function}: after against before" for function in ("sigmoid", "ReLU")),
    ]
    rows = {(row["images"], row["finding"]): row for row in table(report, "tested")}
    assert [*rows] == [(images, finding) for images in ("MNIST", "Fashion-MNIST") for finding in findings]
    tuned = rows["Fashion-MNIST", findings[0]]
    assert (tuned["treatment"], tuned["control"], tuned["pairs"]) == ("Batch Normalization", "plain", "30")
    assert (tuned["difference"], tuned["verdict"]) == ("0.0100 [0.0100, 0.0100]", "Batch Normalization is better")
    assert rows["Fashion-MNIST", findings[3]]["difference"] == "-0.0050 [-0.0050, -0.0050]"
    assert rows["Fashion-MNIST", findings[3]]["verdict"] == "before the activation is better"
    (mnist, fashion) = table(report, "at_the_labs_rate")
    assert (mnist["treatment: point"], mnist["pairs"], mnist["control: failed"]) == ("0.1", "5", "5/5 [0.48, 1.00]")
    assert mnist["difference"].startswith(f"{0.95 - 0.01 - 0.5:.4f} ")
    assert (fashion["treatment: failed"], fashion["control: failed"]) == ("0/5 [0.00, 0.52]", "5/5 [0.48, 1.00]")
    assert tuned["treatment: failed"] == "0/30 [0.00, 0.12]"
    assert any("below 0.9 on MNIST and below 0.8 on Fashion-MNIST" in line for line in report.lines)
    agreement = {row["finding"]: row for row in table(report, "agreement")}
    assert [*agreement] == [*findings, "Adam, sigmoid: at 0.1"]
    assert {finding for finding, row in agreement.items() if row["the same verdict"] == "no"} == {findings[3]}
    assert agreement[findings[3]]["MNIST"] == "after the activation is better"
    seeds = {row["seed"] for row in table(report, "pairs") if row["outcome"] == "MNIST, Adam, sigmoid: at 0.1"}
    assert seeds == {"0", "1", "2", "3", "4"}
    assert any("with seeds 0 to 4, and confirmed with fresh seeds 100 to 129" in line for line in report.lines)
    check(report, "replication")


@pytest.mark.parametrize("row", [0, 2])
def test_the_sets_of_images_are_side_by_side(row: int) -> None:
    report = replication.report(swept("replication", held_out, fresh), shared_params("replication"), [], None)
    titles = [axis.get_title() for axis in report.figures["rates"].axes]
    assert len(titles) == 6
    words = {0: "Adam, sigmoid", 2: "SGD, sigmoid"}[row]
    assert titles[2 * row : 2 * row + 2] == [f"MNIST: {words}", f"Fashion-MNIST: {words}"]
