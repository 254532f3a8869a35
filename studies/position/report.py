"""Before or after the activation: each position at its own best learning rate, for every activation function."""

from collections.abc import Sequence

from pipeline.analysis.statistics import compare, interval, verdict
from pipeline.params import Params, Variant
from pipeline.sweeps.panels import GREEN, Line, Panel, axis_of, draw, of
from pipeline.sweeps.report import Findings, Result, best, markdown, spread

POSITIONS = {"after_activation": "after the activation", "before_activation": "before the activation"}


def report(results: Sequence[Result], params: Params, _every: int) -> Findings:
    """Compare the positions seed by seed, on the test images, at learning rates chosen on the held-out ones."""
    settings = params.evaluate
    functions = list(dict.fromkeys(result.point.params.model.activation for result in results))
    rows, panels = [], []
    for function in functions:
        at = {
            position: [
                result
                for result in results
                if (result.point.params.model.activation, result.point.params.model.batchnorm_position)
                == (function, position)
            ]
            for position in POSITIONS
        }
        panels.append(_panel(function, at, params))
        chosen = {position: best(found_there, "batchnorm") for position, found_there in at.items()}
        tested = {position: result.outcomes["batchnorm"].test_accuracy for position, result in chosen.items()}
        found = compare(
            tested["before_activation"], tested["after_activation"], settings.confidence, settings.resamples
        )
        cells = [
            cell
            for position in POSITIONS
            for cell in (
                chosen[position].point.values["train.lr"],
                spread(interval(tested[position], settings.confidence, settings.resamples)),
            )
        ]
        judged = verdict(found.difference, "before is better", "after is better")
        rows.append([function, *cells, spread(found.difference), str(found.pairs), judged])
    header = ["activation"]
    for name in POSITIONS.values():
        header += [f"{name}: best lr", f"{name}: test accuracy"]
    header += ["before minus after", "pairs", "verdict"]
    words = ["# Before or after the activation?", "", *markdown(header, rows), ""]
    return Findings(words, {"positions": draw(panels)}, {"positions": (header, rows)})


def _panel(function: str, at: dict[str, list[Result]], params: Params) -> Panel:
    """Draw errors, on a logarithmic axis: accuracies near 97 % are told apart by what they miss."""
    settings = params.evaluate
    after, before = (at[position] for position in POSITIONS)
    x, log, _ = axis_of([result.point.values["train.lr"] for result in after])
    drawn: list[tuple[str, Variant, list[Result], dict[str, str]]] = [
        ("plain", "plain", after, {"marker": "s"}),
        ("Batch Normalization after the activation", "batchnorm", after, {"marker": "o"}),
        ("Batch Normalization before the activation", "batchnorm", before, {"marker": "^", "color": GREEN}),
    ]
    lines = []
    for label, variant, of_variant, style in drawn:
        means = [result.mean(variant, settings) for result in of_variant]
        value, low, high = ([100 - 100 * getattr(mean, what) for mean in means] for what in ("value", "high", "low"))
        lines.append(Line(label, x, value, low, high, {**of(variant), "markersize": 4, **style}))
    return Panel(function, lines, "learning rate", "held-out error (%)", log_x=log, log_y=True)
