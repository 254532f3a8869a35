"""The lab's claims about its results, tested on thirty pairs instead of one and at both positions."""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.analysis import histograms
from pipeline.analysis.statistics import compare, of_survivors
from pipeline.analysis.tables import format_interval, format_mean, markdown_table
from pipeline.analysis.verdicts import JUDGED, Question, judge, judged, rule
from pipeline.analysis.wording import count_of, setting
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.training.history import Floats

POSITIONS = {"after_activation": "after the sigmoid (the lab)", "before_activation": "before the sigmoid (the paper)"}

# The claim, its measure [seeds], and the verdict if Batch Normalization has the greater values or the smaller ones.
CLAIMS: list[tuple[str, str, Callable[[Outcome], Floats], str, str]] = [
    (
        "activations are zero-centred",
        "distance of the mean from 0: one image, as the lab computes it",
        lambda outcome: np.abs(outcome.probed["lab"][:, -1].mean(axis=1)),
        "the opposite holds",
        "holds",
    ),
    (
        "activations are zero-centred",
        "distance of the mean from 0: all test images, as they enter the sigmoid",
        lambda outcome: np.abs(outcome.probed["network_mean"][:, -1]),
        "the opposite holds",
        "holds",
    ),
    (
        "activations have a smaller variance",
        "standard deviation: one image, as the lab computes it",
        lambda outcome: outcome.probed["lab"][:, -1].std(axis=1, ddof=1),
        "the opposite holds",
        "holds",
    ),
    (
        "activations have a smaller variance",
        "standard deviation: all test images, as they enter the sigmoid",
        lambda outcome: outcome.probed["network_deviation"][:, -1],
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


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Test each claim at each position, pair by pair."""
    settings = params.evaluate
    questions: dict[str, Question] = {}
    cells: dict[str, list[str]] = {}
    for result in results:
        position = result.point.params.model.norm_position
        for claim, measured, measure, more, less in CLAIMS:
            batchnorm, plain = (
                of_survivors(measure(result.outcomes[variant]), result.outcomes[variant].diverged_at)
                for variant in ("batchnorm", "plain")
            )
            comparison = compare(batchnorm, plain, settings.confidence)
            name = f"{position}: {measured}"
            questions[name] = Question(comparison, more, less, settings.margin if "accuracy" in measured else None)
            cells[name] = [
                POSITIONS[position],
                claim,
                measured,
                format_mean(comparison.control),
                format_mean(comparison.treatment),
                format_interval(comparison.difference),
            ]
    judgements = judge(questions, primary, settings.confidence)
    rows = [[*cells[name], *judged(questions[name], judgements[name])] for name in questions]
    header = ["Batch Normalization", "the lab says", "measured", "plain", "batchnorm", "difference", *JUDGED]
    lines = [
        "# Does the lab's reading of its results hold?",
        "",
        "Activations are those of the second hidden layer, which the lab shows; a deviation is over images and units "
        "together, so it mixes the spread between units with that of a unit.",
        "",
        *markdown_table(header, rows),
        "",
        rule(primary, settings.margin),
        "",
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
    return Report(lines, {"activations": histograms.lab_views(rows_of_figure, note)}, {"verdicts": (header, rows)})


def _values(result: Result, name: str, seeds: int | None = None) -> dict[Variant, Floats]:
    return {variant: result.outcomes[variant].probed[name][:seeds, -1] for variant in VARIANTS}
