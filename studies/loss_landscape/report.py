"""How smooth the loss is along the gradient, and whether noise cancels the gain of Batch Normalization."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.statistics import compare, exponential, failures, interval, learned, of_survivors
from pipeline.analysis.tables import format_failures, format_interval, format_mean, format_number, markdown_table
from pipeline.analysis.verdicts import JUDGED, Question, judge, judged, rule
from pipeline.analysis.wording import count_of, setting
from pipeline.params import Evaluate, Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.panels import Panel, draw, mean_line
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.training.history import Floats

MEASURES = ("range of the loss", "change of the gradient", "effective smoothness")
STYLES = {False: {"color": "#000000", "linestyle": "-"}, True: {"color": "#8C6D31", "linestyle": "--"}}  # noise
SKIPPED = 1  # measurements: the one at the untrained weights has rows of its own


def report(results: Sequence[Result], params: Params, steps: Sequence[int], primary: str | None) -> Report:
    """Compare geometric means over training, seed by seed, and accuracies with and without noise: one family."""
    settings = params.evaluate
    smooth, smooth_cells = _smoothness(results, settings)
    noise, noise_cells = _noise(results, settings)
    judgements = judge(smooth | noise, primary, settings.confidence)
    header = ["learning rate", "noise", "weights", "measure", "plain", "batchnorm", "batchnorm / plain", *JUDGED]
    noise_header = ["learning rate", "compared", "first", "failed", "second", "failed", "first minus second"]
    noise_header += ["where both learn", *JUDGED]
    rows = [[*smooth_cells[name], *judged(question, judgements[name])] for name, question in smooth.items()]
    noise_rows = [[*noise_cells[name], *judged(question, judgements[name])] for name, question in noise.items()]
    lines = [
        "# Is the loss smoother with Batch Normalization?",
        "",
        "Along the gradient of a fixed batch, over step lengths from 1/2 to 4 learning rates; geometric means over "
        "training without its first measurement, and that one, at the untrained weights, alone. The ratio is below 1 "
        "where Batch Normalization is smoother. The variants are compared at equal iterations, not at equal losses.",
        "",
        *markdown_table(header, rows),
        "",
        "The control, noise where Batch Normalization is (or would be): test accuracies after the last epoch.",
        "",
        *markdown_table(noise_header, noise_rows),
        "",
        rule(primary, settings.margin),
        "",
    ]
    note = (
        f"{setting(params, results[0].point.values)}. Lines: geometric means of the ratio Batch Normalization / plain, "
        f"pair by pair over {count_of(len(params.train.seeds), 'seed')}; bands: Student's "
        f"{100 * settings.confidence:g} % intervals of its logarithm. Below 1, Batch Normalization is smoother."
    )
    rates = dict.fromkeys(_place(result)[0] for result in results)
    panels = [
        _panel([result for result in results if _place(result)[0] == rate], rate, measure, settings, steps)
        for rate in rates
        for measure in MEASURES
    ]
    return Report(
        lines,
        {"landscape": draw(panels, note, share="column")},
        {"landscape": (header, rows), "noise": (noise_header, noise_rows)},
    )


def _smoothness(results: Sequence[Result], settings: Evaluate) -> tuple[dict[str, Question], dict[str, list[str]]]:
    """Compare the variants by the ratio of their geometric means: the exponential of a difference of logarithms."""
    questions: dict[str, Question] = {}
    cells: dict[str, list[str]] = {}
    for result in results:
        parts = [("trained", slice(SKIPPED, None)), ("untrained", slice(SKIPPED))]
        if _place(result)[1] == "true":
            parts.pop()  # noise is one of training: the same networks, measured without it, are not another outcome
        for weights, measurements in parts:
            for measure in MEASURES:
                batchnorm, plain = (
                    of_survivors(
                        _log_mean(result.outcomes[variant], measure, measurements), result.outcomes[variant].diverged_at
                    )
                    for variant in ("batchnorm", "plain")
                )
                comparison = compare(batchnorm, plain, settings.confidence)
                name = f"{_name(result)}, {weights}: {measure}"
                questions[name] = Question(comparison, "larger", "smaller")
                cells[name] = [
                    *_place(result),
                    weights,
                    measure,
                    format_number(np.exp(comparison.control.mean.value)),
                    format_number(np.exp(comparison.treatment.mean.value)),
                    format_interval(exponential(comparison.difference), digits=3),
                ]
    return questions, cells


def _noise(results: Sequence[Result], settings: Evaluate) -> tuple[dict[str, Question], dict[str, list[str]]]:
    """Compare test accuracies with and without noise, at each learning rate."""
    places = {_place(result): result for result in results}
    questions: dict[str, Question] = {}
    cells: dict[str, list[str]] = {}
    for rate in dict.fromkeys(rate for rate, _ in places):
        quiet, noisy = places[rate, "false"], places[rate, "true"]
        compared: list[tuple[str, tuple[Result, Variant], tuple[Result, Variant]]] = [
            ("batchnorm with noise, plain without", (noisy, "batchnorm"), (quiet, "plain")),
            ("batchnorm with noise, batchnorm without", (noisy, "batchnorm"), (quiet, "batchnorm")),
            ("plain with noise, plain without", (noisy, "plain"), (quiet, "plain")),
        ]
        for words, *sides in compared:
            first, second = (result.tested(variant) for result, variant in sides)
            comparison = compare(first, second, settings.confidence, learned(first) & learned(second))
            name = f"learning rate {rate}: {words}"
            questions[name] = Question(comparison, margin=settings.margin)
            failed = [
                format_failures(failures(result.tested(variant), settings.confidence), result.diverged(variant))
                for result, variant in sides
            ]
            among, count = comparison.learned or (comparison.difference, 0)
            cells[name] = [
                rate,
                words,
                format_mean(comparison.treatment),
                failed[0],
                format_mean(comparison.control),
                failed[1],
                format_interval(comparison.difference),
                f"{format_interval(among)}, {count} pair{'s' * (count != 1)}" if count else "no pair",
            ]
    return questions, cells


def _name(result: Result) -> str:
    rate, noise = _place(result)
    return f"learning rate {rate}{', noise' if noise == 'true' else ''}"


def _place(result: Result) -> tuple[str, str]:
    return result.point.values["train.lr"], result.point.values["model.noise"].lower()


def _log_mean(outcome: Outcome, name: str, measurements: slice) -> Floats:
    """Return the logarithm [seeds] of a measure's geometric mean over some measurements."""
    logarithm: Floats = _log(outcome, name)[:, measurements].mean(axis=1)
    return logarithm


def _log(outcome: Outcome, name: str) -> Floats:
    """Return the logarithm of a measure [seeds, measurements]."""
    probed = outcome.probed
    values = {
        "range of the loss": probed["loss_high"] - probed["loss_low"],
        "change of the gradient": probed["gradient_high"],
        "effective smoothness": probed["smoothness"],
    }[name]
    logarithm: Floats = np.log(np.maximum(values, 1e-12))
    return logarithm


def _panel(results: Sequence[Result], rate: str, name: str, settings: Evaluate, steps: Sequence[int]) -> Panel:
    """Draw the ratio of the variants over training, with and without noise."""
    lines = []
    for result in results:
        noise = _place(result)[1] == "true"
        batchnorm, plain = (result.outcomes[variant] for variant in ("batchnorm", "plain"))
        kept = (batchnorm.diverged_at == 0) & (plain.diverged_at == 0)
        logarithms = (_log(batchnorm, name) - _log(plain, name))[kept]
        means = [exponential(interval(column, settings.confidence)) for column in logarithms.T]
        lines.append(mean_line("with noise" if noise else "without noise", steps, means, 1, STYLES[noise]))
    title = f"learning rate {rate}: {name}"
    return Panel(title, lines, "iteration", "Batch Normalization / plain", log_y=True, level=1)
