"""The lab's claims about its results, tested on thirty pairs instead of one and at both positions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis import histograms
from pipeline.analysis.family import Family, closing
from pipeline.analysis.statistics import compare
from pipeline.analysis.tables import format_interval, format_mean, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, setting
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.training.history import Floats

POSITIONS = {"after_activation": "after the sigmoid (the lab)", "before_activation": "before the sigmoid (the paper)"}

HOLDS, OPPOSITE = "holds", "the opposite holds"
LAYERS = {1: "layer 1", 2: "layer 2"}


@dataclass(frozen=True)
class Claim:
    """What the lab says, with a measure of it.

    Attributes:
        statement: What the lab says.
        name: The name of the outcome.
        measured: What is measured.
        values: Returns the measure [seeds] of an outcome.
        more: Whether the statement holds if Batch Normalization has the greater values, rather than the smaller ones.
    """

    statement: str
    name: str
    measured: str
    values: Callable[[Outcome], Floats]
    more: bool = False


def _last(name: str) -> Callable[[Outcome], Floats]:
    return lambda outcome: np.abs(outcome.probed[name][:, -1])


CENTRED, SMALLER = "activations are zero-centred", "activations have a smaller variance"
FASTER, BETTER = "training is faster", "accuracy is higher"
CLAIMS = [
    Claim(
        CENTRED,
        "layer 2, the lab's computation: mean",
        "layer 2 as the lab computes it, one image: distance of the mean from 0",
        lambda outcome: np.abs(outcome.probed["lab"][:, -1].mean(axis=1)),
    ),
    *(
        Claim(CENTRED, f"{layer}: mean", f"{layer}: distance of the mean from 0", _last(f"layer{number}_mean"))
        for number, layer in LAYERS.items()
    ),
    Claim(
        SMALLER,
        "layer 2, the lab's computation: deviation",
        "layer 2 as the lab computes it, one image: deviation over units",
        lambda outcome: outcome.probed["lab"][:, -1].std(axis=1, ddof=1),
    ),
    *(
        Claim(SMALLER, f"{layer}: {name}", f"{layer}: {measured}", _last(f"layer{number}_{key}"))
        for number, layer in LAYERS.items()
        for key, name, measured in (
            ("pooled", "pooled deviation", "deviation over units and images together"),
            ("within", "deviation within units", "deviation over images, mean over units"),
            ("between", "deviation between units", "deviation over units of their means"),
        )
    ),
    Claim(FASTER, "training loss", "training loss, mean over all iterations", lambda o: o.train_loss.mean(axis=1)),
    Claim(FASTER, "accuracy, epoch 1", "test accuracy after epoch 1", lambda o: o.validation_accuracy[:, 1], more=True),
    Claim(BETTER, "accuracy", "test accuracy after the last epoch", lambda o: o.test_accuracy, more=True),
]


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Test each claim at each position, pair by pair."""
    settings = params.evaluate
    family = Family(results[0].point.params.train.seeds, ("plain", "batchnorm"))
    for result in results:
        position = POSITIONS[result.point.params.model.norm_position]
        for claim in CLAIMS:
            batchnorm, plain = result.kept("batchnorm", claim.values), result.kept("plain", claim.values)
            comparison = compare(batchnorm, plain, settings.confidence)
            words = (HOLDS, OPPOSITE) if claim.more else (OPPOSITE, HOLDS)
            question = Question(comparison, *words, settings.margin if "accuracy" in claim.name else None)
            cells = [
                position,
                claim.statement,
                claim.measured,
                format_mean(comparison.control),
                format_mean(comparison.treatment),
                format_interval(comparison.difference),
            ]
            family.ask("verdicts", f"{position}, {claim.name}", question, cells, plain, batchnorm)
    header = ["position", "the lab says", "measured", "plain", "Batch Normalization", "difference"]
    tables = family.tables({"verdicts": header}, primary, settings.confidence)
    lines = [
        "# Does the lab's reading of its results hold?",
        "",
        "Activations are what enters the sigmoids of a hidden layer, over all test images unless one is named; the lab "
        "shows the second layer. The deviation over units and images together mixes two things: how much a unit "
        "varies over images, and how far apart the units are.",
        "",
        *markdown_table(*tables["verdicts"]),
        *closing(primary, settings.margin),
    ]
    rows_of_figure = {
        POSITIONS[result.point.params.model.norm_position]: [
            ("one seed, the lab's computation and bins", _values(result, "lab", 1), False),
            ("all seeds, the lab's computation, shared bins", _values(result, "lab"), True),
            ("all seeds, what enters the sigmoid, shared bins", _values(result, "network"), True),
        ]
        for result in results
    }
    note = (
        f"{setting(params, results[0].point.values)}, trained on {count_of(len(params.train.seeds), 'seed')} of each "
        "variant. Second hidden layer, one test image; units of all seeds together unless one is named."
    )
    return Report(lines, {"activations": histograms.lab_views(rows_of_figure, note)}, tables)


def _values(result: Result, name: str, seeds: int | None = None) -> dict[Variant, Floats]:
    return {variant: result.outcomes[variant].probed[name][:seeds, -1] for variant in VARIANTS}
