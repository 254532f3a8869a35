"""How deep networks of sigmoids still train, and how much of the gradient reaches the first layer before training."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import LEARNED, compare, exponential, interval, summarise
from pipeline.analysis.tables import format_failed, format_interval, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import DATASETS, count_of, join_words, setting, value_words
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps.lines import finals_of
from pipeline.sweeps.panels import Line, Panel, draw, mean_line, style_of, sweep
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result, choose
from pipeline.training.history import Floats

TEN = np.log(10)


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Compare trained networks at their best rates, and gradients before training, seed by seed: one family."""
    settings = params.evaluate
    family = Family(params.train.seeds, VARIANTS)
    trained, untrained = _by_depth(results), _by_activation(results)
    for depth, group in trained.items():
        chosen = choose(group)
        plain, batchnorm = (chosen[variant].final(variant) for variant in VARIANTS)
        comparison = compare(batchnorm, plain, settings.confidence)
        cells = [str(depth)]
        for variant, accuracy in zip(VARIANTS, (plain, batchnorm), strict=True):
            mean = format_interval(summarise(accuracy, settings.confidence).mean)
            cells += [chosen[variant].point.values["train.lr"], mean, format_failed(accuracy, settings.confidence)]
        question = Question(comparison, margin=settings.margin)
        row = [*cells, format_interval(comparison.difference)]
        family.ask("depth", count_of(depth, "layer"), question, row, plain, batchnorm)
    for activation, by_depth in untrained.items():
        for depth, result in by_depth.items():
            plain, batchnorm = (_log_ratio(result, variant) for variant in VARIANTS)
            comparison = compare(batchnorm, plain, settings.confidence)
            means = (comparison.control.mean, comparison.treatment.mean, comparison.difference)
            row = [value_words(activation), str(depth), *(format_interval(mean, 2) for mean in means)]
            name = f"gradient, {activation}, {count_of(depth, 'layer')}"
            family.ask("gradients", name, Question(comparison), row, plain, batchnorm)
    columns = ("best learning rate", "held-out accuracy", "failed")
    headers = {
        "depth": [
            "layers",
            *(f"{VARIANT_NAMES[variant]}: {column}" for variant in VARIANTS for column in columns),
            "difference",
        ],
        "gradients": ["activation", "layers", *map(VARIANT_NAMES.__getitem__, VARIANTS), "difference"],
    }
    tables = family.tables(headers, primary, settings.confidence)
    lines = [
        "# How deep can the networks be?",
        "",
        f"Networks of sigmoids, accuracy on the held-out images over {count_of(len(params.train.seeds), 'seed')}, each "
        "network at its own best learning rate by the mean. The rates are chosen and judged on the same seeds and "
        "images, which flatters both; no verdict uses a test image. Failed: an accuracy below "
        f"{LEARNED:g}. {_deepest(trained, params)}",
        "",
        *markdown_table(*tables["depth"]),
        "",
        "How much of the gradient reaches the first layer before training: the root mean square of the gradient over "
        "the weights of the first hidden layer by that of the last one, as a power of ten. Below 0 the gradient "
        "vanishes on its way down, above 0 it grows.",
        "",
        *markdown_table(*tables["gradients"]),
        *closing(primary, settings.margin),
    ]
    return Report(lines, {"depth": _accuracies(trained, params), "gradients": _gradients(untrained, params)}, tables)


def depth_of(result: Result) -> int:
    """Return the number of hidden layers."""
    return len(result.point.params.model.hidden)


def _by_depth(results: Sequence[Result]) -> dict[int, list[Result]]:
    """Return the points whose networks are trained for longer than others, of all rates, by their depth."""
    epochs = max(result.point.params.train.epochs for result in results)
    trained = [result for result in results if result.point.params.train.epochs == epochs]
    return {
        depth: [result for result in trained if depth_of(result) == depth] for depth in sorted(map(depth_of, trained))
    }


def _by_activation(results: Sequence[Result]) -> dict[str, dict[int, Result]]:
    """Return a point of each activation function and depth, above a single layer: rates do not matter untrained."""
    found: dict[str, dict[int, Result]] = {}
    for result in sorted(results, key=depth_of):
        if depth_of(result) > 1:
            found.setdefault(result.point.params.model.activation, {}).setdefault(depth_of(result), result)
    return found


def _log_ratio(result: Result, variant: Variant) -> Floats:
    """Return log10 of the first by the last hidden layer's gradient before training [seeds]."""
    ratios: Floats = result.outcomes[variant].probed["log_ratio"][:, 0]
    return ratios


def _deepest(trained: Mapping[int, Sequence[Result]], params: Params) -> str:
    """Say how deep networks are of which all trainings learn, at the best rates; 0 if there are none."""
    deepest = dict.fromkeys(VARIANTS, 0)
    for depth, group in trained.items():
        for variant, result in choose(group).items():
            if not result.failures(variant, params.evaluate).count:
                deepest[variant] = depth
    words = [f"{depth} ({VARIANT_NAMES[variant]})" for variant, depth in deepest.items()]
    return f"The greatest numbers of layers with which all trainings learn: {join_words(words)}."


def _accuracies(trained: dict[int, list[Result]], params: Params) -> Figure:
    """Draw errors over depth in a panel for each rate, with rings around each depth's best rate."""
    results = sorted((result for group in trained.values() for result in group), key=_rate)
    points = [
        {"hidden_layers": str(depth_of(result)), "train.lr": result.point.values["train.lr"]} for result in results
    ]
    finals = {
        variant: [
            finals_of(result, variant, params.evaluate, chosen=choose(trained[depth_of(result)])[variant] is result)
            for result in results
        ]
        for variant in VARIANTS
    }
    note = (
        f"{setting(results[0].point.params, ('train.lr', 'model.hidden'))}; 100 units in each layer. Lines: medians of "
        f"{count_of(len(params.train.seeds), 'seed')}; bands: quartiles. Rings: the best rate for this depth by the "
        f"mean. Crosses: some or all trainings failed (accuracy below {LEARNED:g}, or diverged)."
    )
    return sweep(points, finals, "held-out error (%)", note)


def _gradients(untrained: dict[str, dict[int, Result]], params: Params) -> Figure:
    """Draw the ratio of the gradients over depth, and the gradient by layer in the deepest networks."""
    ratios, layers = [], []
    for activation, by_depth in untrained.items():
        *_, (deepest, result) = by_depth.items()
        over_depth, over_layers = [], []
        for variant in VARIANTS:
            label, style = VARIANT_NAMES[variant], style_of(variant)
            seen = [TEN * _log_ratio(one, variant) for one in by_depth.values()]
            means = [exponential(interval(values, params.evaluate.confidence)) for values in seen]
            over_depth.append(mean_line(label, list(by_depth), means, 1, {**style, "marker": "o", "markersize": 3.5}))
            sizes = np.log(result.outcomes[variant].probed["layers"][:, 0])
            means = [exponential(interval(values, params.evaluate.confidence)) for values in (sizes - sizes[:, -1:]).T]
            over_layers.append(mean_line(label, range(1, deepest + 1), means, 1, style))
        words = value_words(activation)
        ratios.append(_panel(f"{words}, first by last layer", over_depth, "hidden layers", log_x=True))
        layers.append(_panel(f"{words}, {count_of(deepest, 'layer')}, each by the last", over_layers, "layer"))
    first = next(iter(untrained["sigmoid"].values()))
    note = (
        f"{DATASETS[first.point.params.data.dataset]}, 100 units in each hidden layer, Batch Normalization after the "
        "activation, before training, on one batch of 500 images. "
        f"Lines: geometric means of {count_of(len(params.train.seeds), 'seed')} of the gradient's root mean square "
        "over the weights of a layer, by that of the last; bands: Student's "
        f"{100 * params.evaluate.confidence:g} % intervals."
    )
    return draw([*ratios, *layers], note)


def _panel(title: str, lines: list[Line], xlabel: str, *, log_x: bool = False) -> Panel:
    return Panel(title, lines, xlabel, "ratio of gradients", log_x=log_x, log_y=True, level=1)


def _rate(result: Result) -> float:
    return result.point.params.train.lr
