"""How smooth the loss is along the gradient, and whether noise undoes stability and takes the gain of normalisation."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pipeline.analysis.crossings import at_loss
from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import Comparison, compare, exponential, failures, interval, learned
from pipeline.analysis.tables import format_failures, format_interval, format_mean, format_number, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, setting, value_words
from pipeline.params import Evaluate, Params, Variant
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.panels import Panel, draw, mean_line
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.training.history import Floats

Side = tuple[Result, Variant]  # one population

MEASURES = ("range of the loss", "change of the gradient", "effective smoothness")
LOSSES = (0.5, 0.4)  # training losses of the fixed batch at which the variants are compared
NOISE = {False: "", True: " with noise"}
# The first and the second of each comparison, each as a variant, and whether with noise.
COMPARED: list[tuple[tuple[Variant, bool], tuple[Variant, bool]]] = [
    (("batchnorm", False), ("plain", False)),
    (("batchnorm", True), ("plain", False)),
    (("batchnorm", True), ("batchnorm", False)),
    (("plain", True), ("plain", False)),
]
STYLES = {  # of positions; no colour of a variant
    "after_activation": {"color": "#000000", "linestyle": "-"},
    "before_activation": {"color": "#8C6D31", "linestyle": "--"},
}


def report(results: Sequence[Result], params: Params, steps: Sequence[int], primary: str | None) -> Report:
    """Compare smoothness at equal losses and at equal iterations, and accuracies and stability with noise: one family.

    Smoothness is that of networks without noise.
    """
    settings = params.evaluate
    family = Family(results[0].point.params.train.seeds, ("first", "second"))
    for result in results:
        if not _noise(result):
            _ask_smoothness(family, result, steps, settings)
    places = {(_place(result), _noise(result)): result for result in results}
    for place in dict.fromkeys(_place(result) for result in results):
        for one, other in COMPARED:
            sides = [(places[place, noise], variant) for variant, noise in (one, other)]
            words = [f"{VARIANT_NAMES[variant]}{NOISE[noise]}" for variant, noise in (one, other)]
            _ask_noise(family, sides, words, steps, settings)
    place_header = ["learning rate", "position"]
    sides_header = [*place_header, "first", "second"]
    headers = {
        "landscape": [*place_header, "compared", "measure", "Batch Normalization", "plain", "ratio"],
        "noise": [
            *sides_header,
            *("first accuracy", "failed", "second accuracy", "failed", "first minus second", "where both learn"),
        ],
        "stability": [*sides_header, "computed as in", "first movement", "second movement", "ratio"],
    }
    tables = family.tables(headers, primary, settings.confidence)
    lines = [
        "# Is the loss smoother with Batch Normalization?",
        "",
        "Along the gradient of a fixed batch, over step lengths from 1/2 to 4 learning rates; ratios are Batch "
        "Normalization / plain, below 1 where the network with Batch Normalization is smoother. At equal losses, a "
        "measure is read where the network's loss on the batch first falls to that value (pairs in which both do), "
        "interpolated between measurements in logarithms; at equal iterations, it is the geometric mean over "
        f"training, every {steps[-1] - steps[-2]} iterations; the untrained network has rows of its own. None of the "
        "measures is invariant to a rescaling of the weights that leaves the function as it is.",
        "",
        *markdown_table(*tables["landscape"]),
        "",
        "Noise where Batch Normalization is, or would be: test accuracies after the last epoch.",
        "",
        *markdown_table(*tables["noise"]),
        "",
        "Whether noise makes distributions less stable: how far the distribution of what enters each sigmoid of the "
        "last hidden layer moves in as many iterations, in its deviations; geometric means. In training, batches "
        "normalise and noise is added; in evaluation, running statistics normalise and there is no noise.",
        "",
        *markdown_table(*tables["stability"]),
        *closing(primary, settings.margin),
    ]
    note = (
        f"{setting(params, results[0].point.values)}, no noise. Lines: geometric means of the ratio Batch "
        f"Normalization / plain, pair by pair over {count_of(len(params.train.seeds), 'seed')}; bands: Student's "
        f"{100 * settings.confidence:g} % intervals of its logarithm. Below 1, Batch Normalization is smoother."
    )
    return Report(lines, {"landscape": draw(_panels(results, settings, steps), note, share="column")}, tables)


def _ask_smoothness(family: Family, result: Result, steps: Sequence[int], settings: Evaluate) -> None:
    """Ask for the variants' smoothness at equal losses, over training, and before it."""
    views: dict[str, Callable[[str, Outcome], Floats]] = {
        **{f"at a loss of {loss}": partial(_at_loss, loss) for loss in LOSSES},
        "at equal iterations": lambda measure, outcome: log_measure(outcome, measure)[:, spaced(steps)].mean(axis=1),
        "untrained": lambda measure, outcome: log_measure(outcome, measure)[:, 0],
    }
    for view, values in views.items():
        for measure in MEASURES:
            of_measure = partial(values, measure)
            batchnorm, plain = result.kept("batchnorm", of_measure), result.kept("plain", of_measure)
            comparison = compare(batchnorm, plain, settings.confidence)
            question = Question(comparison, "rougher", "smoother")
            cells = [*_cells(result), view, measure, *_ratio(comparison)]
            name = f"{_words(result)}, {view}: {measure}"
            family.ask("landscape", name, question, cells, np.exp(batchnorm), np.exp(plain))


def _ask_noise(
    family: Family, sides: Sequence[Side], words: Sequence[str], steps: Sequence[int], settings: Evaluate
) -> None:
    """Ask how two populations differ in accuracy, and in the stability of their distributions."""
    asked = [*_cells(sides[0][0]), *words]
    name = f"{_words(sides[0][0])}: {words[0]} against {words[1]}"
    first, second = (result.tested(variant) for result, variant in sides)
    comparison = compare(first, second, settings.confidence, learned(first) & learned(second))
    cells = [*asked]
    for summary, accuracy, (result, variant) in zip(
        (comparison.treatment, comparison.control), (first, second), sides, strict=True
    ):
        failed = format_failures(failures(accuracy, settings.confidence), result.diverged(variant))
        cells += [format_mean(summary), failed]
    among, count = comparison.learned or (comparison.difference, 0)
    where = f"{format_interval(among)}, {count_of(count, 'pair')}" if count else "no pair"
    question = Question(comparison, margin=settings.margin)
    cells += [format_interval(comparison.difference), where]
    family.ask("noise", f"{name}, accuracy", question, cells, first, second)
    for mode in ("training", "evaluation"):
        moved = partial(_log_movement, steps, mode)
        first, second = (result.kept(variant, moved) for result, variant in sides)
        comparison = compare(first, second, settings.confidence)
        question = Question(comparison, "less stable", "more stable")
        cells = [*asked, mode, *_ratio(comparison)]
        family.ask("stability", f"{name}, movement in {mode}", question, cells, np.exp(first), np.exp(second))


def _ratio(comparison: Comparison) -> list[str]:
    """Return cells: both geometric means and their ratio, of a comparison of logarithms."""
    means = (np.exp(side.mean.value) for side in (comparison.treatment, comparison.control))
    return [*map(format_number, means), format_interval(exponential(comparison.difference), digits=3)]


def _log_movement(steps: Sequence[int], mode: str, outcome: Outcome) -> Floats:
    """Return the logarithm of the movement [seeds] in training or in evaluation."""
    logarithm: Floats = np.log(np.maximum(movement(outcome.probed[mode], steps), 1e-12))
    return logarithm


def log_measure(outcome: Outcome, name: str) -> Floats:
    """Return the logarithm of a measure [seeds, measurements]."""
    probed = outcome.probed
    values = {
        "range of the loss": probed["loss_high"] - probed["loss_low"],
        "change of the gradient": probed["gradient_high"],
        "effective smoothness": probed["smoothness"],
    }[name]
    logarithm: Floats = np.log(np.maximum(values, 1e-12))
    return logarithm


def spaced(steps: Sequence[int]) -> list[int]:
    """Return which measurements are multiples of the last interval, so that all intervals between them are equal.

    The untrained network's is not among them.
    """
    last = steps[-1] - steps[-2]
    return [at for at, step in enumerate(steps) if step and step % last == 0]


def movement(moments: Floats, steps: Sequence[int]) -> Floats:
    """Return how far distributions move between measurements, in deviations: a ratio of sums [seeds].

    The distance is that of two normal distributions (2-Wasserstein): √(Δmean² + Δdeviation²). It and the deviations are
    summed over units and the measurements that are `spaced`.

    Args:
        moments: Mean and deviation [seeds, measurements, units, 2].
        steps: The iterations of the measurements.
    """
    chosen = moments[:, spaced(steps)]
    distances = np.sqrt(np.square(np.diff(chosen, axis=1)).sum(axis=-1))
    ratio: Floats = distances.sum(axis=(1, 2)) / np.maximum(chosen[:, 1:, :, 1].sum(axis=(1, 2)), 1e-12)
    return ratio


def _at_loss(loss: float, measure: str, outcome: Outcome) -> Floats:
    return at_loss(log_measure(outcome, measure), outcome.probed["loss"], loss)


def _panels(results: Sequence[Result], settings: Evaluate, steps: Sequence[int]) -> list[Panel]:
    """Draw the ratio of the variants over training without noise, a row for each learning rate."""
    quiet = [result for result in results if not _noise(result)]
    panels = []
    for rate in dict.fromkeys(_place(result)[0] for result in quiet):
        for measure in MEASURES:
            lines = []
            for result in quiet:
                if _place(result)[0] == rate:
                    batchnorm, plain = (result.outcomes[variant] for variant in ("batchnorm", "plain"))
                    kept = (batchnorm.diverged_at == 0) & (plain.diverged_at == 0)
                    ratios = (log_measure(batchnorm, measure) - log_measure(plain, measure))[kept]
                    means = [exponential(interval(column, settings.confidence)) for column in ratios.T]
                    position = _place(result)[1]
                    lines.append(mean_line(value_words(position), steps, means, 1, STYLES[position]))
            title, label = f"learning rate {rate}: {measure}", "Batch Normalization / plain"
            panels.append(Panel(title, lines, "iteration", label, log_y=True, level=1))
    return panels


def _place(result: Result) -> tuple[str, str]:
    return result.point.values["train.lr"], result.point.values["model.norm_position"]


def _noise(result: Result) -> bool:
    return result.point.params.model.noise


def _cells(result: Result) -> list[str]:
    rate, position = _place(result)
    return [rate, value_words(position)]


def _words(result: Result) -> str:
    return "learning rate {}, {}".format(*_cells(result))
