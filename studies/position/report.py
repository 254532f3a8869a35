"""Batch Normalization before or after the activation, each at its own best learning rate, for every function."""

from collections.abc import Sequence

from pipeline.analysis.family import Family
from pipeline.analysis.statistics import compare, summarise
from pipeline.analysis.tables import format_failed, format_interval, markdown_table
from pipeline.analysis.verdicts import Question, rule
from pipeline.analysis.wording import count_of, setting, value_words
from pipeline.params import Params, Variant
from pipeline.sweeps.best import how_chosen
from pipeline.sweeps.panels import Line, Panel, axis_of, draw, error, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result, best

POSITIONS = {"after_activation": "after the activation", "before_activation": "before the activation"}


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Compare the positions on the test images, seed by seed, at learning rates chosen on the held-out ones."""
    settings = params.evaluate
    functions = list(dict.fromkeys(result.point.params.model.activation for result in results))
    panels: list[Panel] = []
    choosing = results[0].point.params.train.seeds
    fresh = next((result.seeds for result in results if result.confirmed), choosing)
    family = Family(fresh, ("before", "after"))
    for function in functions:
        by_position = {
            position: [
                result
                for result in results
                if (result.point.params.model.activation, result.point.params.model.norm_position)
                == (function, position)
            ]
            for position in POSITIONS
        }
        panels.append(_panel(function, by_position, params))
        chosen = {position: best(candidates, "batchnorm") for position, candidates in by_position.items()}
        after, before = (result.tested("batchnorm") for result in chosen.values())
        comparison = compare(before, after, settings.confidence)
        question = Question(comparison, "before is better", "after is better", settings.margin)
        cells: list[str] = [function]
        for result in chosen.values():
            accuracy = result.tested("batchnorm")
            cells += [
                result.point.values["train.lr"],
                format_interval(summarise(accuracy, settings.confidence).mean),
                format_failed(accuracy, settings.confidence),
            ]
        cells.append(format_interval(comparison.difference))
        family.ask("positions", function, question, cells, before, after)
    header = ["activation"]
    for name in POSITIONS.values():
        header += [f"{name}: best lr", f"{name}: test accuracy", f"{name}: failed"]
    header.append("before minus after")
    tables = family.tables({"positions": header}, primary, settings.confidence)
    lines = [
        "# Before or after the activation?",
        "",
        f"{how_chosen(results, 'The best learning rate of each position')}.",
        "",
        *markdown_table(*tables["positions"]),
        "",
        rule(primary, settings.margin),
        "",
    ]
    note = (
        f"{setting(params, results[0].point.values)}. Lines: medians of {count_of(len(params.train.seeds), 'seed')}; "
        "bands: quartiles. Rings: chosen on the held-out images."
    )
    return Report(lines, {"positions": draw(panels, note, share="all")}, tables)


def _panel(function: str, by_position: dict[str, list[Result]], params: Params) -> Panel:
    """Draw medians of the errors on a logarithmic axis, which separates accuracies near 97 %."""
    settings = params.evaluate
    after, before = (by_position[position] for position in POSITIONS)
    drawn: list[tuple[str, Variant, list[Result], dict[str, str]]] = [
        ("plain", "plain", after, {"marker": "s"}),
        ("Batch Normalization after the activation", "batchnorm", after, {"marker": "o"}),
        ("Batch Normalization before the activation", "batchnorm", before, {"marker": "^", "linestyle": ":"}),
    ]
    lines = []
    for label, variant, at_position, style in drawn:
        x, log, _ = axis_of([result.point.values["train.lr"] for result in at_position])
        summaries = [result.summary(variant, settings) for result in at_position]
        middle = [error(summary.median) for summary in summaries]
        low = [error(summary.upper_quartile) for summary in summaries]
        high = [error(summary.lower_quartile) for summary in summaries]
        own = {**style_of(variant), "markersize": 4, **style}
        lines.append(Line(label, x, middle, low, high, own))
        at = next(at for at, result in enumerate(at_position) if result is best(at_position, variant))
        ring = {**own, "linestyle": "", "marker": "o", "markersize": 10, "markerfacecolor": "none"}
        lines.append(Line("chosen", [x[at]], [middle[at]], style=ring))
    return Panel(value_words(function), lines, "learning rate", "held-out error (%)", log_x=log, log_y=True)
