"""The lab's sentences about its own results, with thirty pairs instead of one and both positions."""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.analysis import histograms
from pipeline.analysis.statistics import compare, verdict
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.report import Findings, Result, markdown, number, spread
from pipeline.training.history import Floats

POSITIONS = {"after_activation": "after the sigmoid (the lab)", "before_activation": "before the sigmoid (the paper)"}

# What the lab says, how it can be measured [seeds], and the verdict where Batch Normalization has more, or less.
SENTENCES: list[tuple[str, str, Callable[[Outcome], Floats], str, str]] = [
    (
        "activations are zero-centred",
        "distance of the mean from 0: one image, as the lab computes it",
        lambda outcome: np.abs(outcome.watched["lab"][:, -1].mean(axis=1)),
        "the opposite holds",
        "holds",
    ),
    (
        "activations are zero-centred",
        "distance of the mean from 0: all test images, as they enter the sigmoid",
        lambda outcome: np.abs(outcome.watched["network_mean"][:, -1]),
        "the opposite holds",
        "holds",
    ),
    (
        "activations have a smaller variance",
        "standard deviation: one image, as the lab computes it",
        lambda outcome: outcome.watched["lab"][:, -1].std(axis=1, ddof=1),
        "the opposite holds",
        "holds",
    ),
    (
        "activations have a smaller variance",
        "standard deviation: all test images, as they enter the sigmoid",
        lambda outcome: outcome.watched["network_deviation"][:, -1],
        "the opposite holds",
        "holds",
    ),
    (
        "training is faster",
        "training loss, mean over all iterations",
        lambda outcome: outcome.train_loss.mean(axis=1),
        "the opposite holds",
        "holds",
    ),
    (
        "training is faster",
        "test accuracy after epoch 1",
        lambda outcome: outcome.validation_accuracy[:, 1],
        "holds",
        "the opposite holds",
    ),
    (
        "accuracy is higher",
        "test accuracy after the last epoch",
        lambda outcome: outcome.test_accuracy,
        "holds",
        "the opposite holds",
    ),
]


def report(results: Sequence[Result], params: Params, _every: int) -> Findings:
    """Say of each sentence whether it holds, pair by pair."""
    settings = params.evaluate
    rows = []
    for result in results:
        position = POSITIONS[result.point.params.model.batchnorm_position]
        for sentence, measured, value, more, less in SENTENCES:
            values = {variant: value(result.outcomes[variant]) for variant in VARIANTS}
            found = compare(values["batchnorm"], values["plain"], settings.confidence, settings.resamples)
            numbers = [number(found.plain_mean), number(found.batchnorm_mean), spread(found.difference)]
            rows.append(
                [position, sentence, measured, *numbers, str(found.pairs), verdict(found.difference, more, less)]
            )
    header = ["Batch Normalization", "the lab says", "measured", "plain", "batchnorm", "difference", "pairs", "verdict"]
    words = ["# Does the lab's reading of its results hold?", "", *markdown(header, rows), ""]
    rows_of_figure = {
        POSITIONS[result.point.params.model.batchnorm_position]: [
            ("one seed, the lab's computation and bins", _values(result, "lab", 1), False),
            ("all seeds, the lab's computation, shared bins", _values(result, "lab"), True),
            ("all seeds, what enters the sigmoid, shared bins", _values(result, "network"), True),
        ]
        for result in results
    }
    return Findings(words, {"activations": histograms.lab_views(rows_of_figure)}, {"verdicts": (header, rows)})


def _values(result: Result, name: str, seeds: int | None = None) -> dict[Variant, Floats]:
    return {variant: result.outcomes[variant].watched[name][:seeds, -1] for variant in VARIANTS}
