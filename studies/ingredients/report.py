"""Batch Normalization without one part or another, each at its own best learning rate."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pipeline.analysis.family import Family, closing
from pipeline.analysis.forest import Effect, forest
from pipeline.analysis.tables import markdown_table
from pipeline.analysis.wording import count_of, setting, value_words
from pipeline.network.perceptron import Perceptron
from pipeline.params import Evaluate, Params, Variant
from pipeline.sweeps.best import how_chosen
from pipeline.sweeps.lines import error_lines
from pipeline.sweeps.panels import Panel, draw, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.sweeps.versus import HEAD, ask_versus, choose_best, explain_differences

ALL, PLAIN, ONLY = "all", "plain", "only Batch Normalization trained"
KINDS = {  # by model.recentre, model.rescale, model.affine and train.weights
    (True, True, True, "all"): ALL,
    (True, False, True, "all"): "mean only",
    (False, True, True, "all"): "variance only",
    (True, True, False, "all"): "no scale and shift",
    (True, True, True, "norms"): ONLY,
}
STYLES: dict[str, dict[str, Any]] = {  # colours of variants for the two that are such
    ALL: {**style_of("batchnorm"), "marker": "o"},
    "mean only": {"color": "#000000", "linestyle": ":", "marker": "^"},
    "variance only": {"color": "#8C6D31", "linestyle": "-.", "marker": "v"},
    "no scale and shift": {"color": "#7F7F7F", "linestyle": (0, (5, 1, 1, 1)), "marker": "D"},
    ONLY: {"color": "#5A3D5C", "linestyle": (0, (8, 2)), "marker": "P"},
    PLAIN: {**style_of("plain"), "marker": "s"},
}


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Compare what is left of Batch Normalization with all of it and with none, on the test images: one family."""
    settings = params.evaluate
    points = _points_by_kind(results)
    chosen = {kind: choose_best(kind, group, _variant(kind)) for kind, group in points.items()}
    controls = {
        ALL: [kind for kind in chosen if kind not in (ALL, PLAIN)],
        PLAIN: [kind for kind in chosen if kind != PLAIN],
    }
    family = Family(chosen[ALL].seeds, ("treatment", "control"))
    effects: dict[str, list[Effect]] = {control: [] for control in controls}
    for control, treatments in controls.items():
        for kind in treatments:
            name, table = f"{kind} against {control}", f"against_{control}"
            comparison = ask_versus(family, table, name, chosen[kind], chosen[control], settings)
            effects[control].append(Effect(kind, comparison.difference, STYLES[kind]["color"], STYLES[kind]["marker"]))
    tables = family.tables({f"against_{control}": HEAD for control in controls}, primary, settings.confidence)
    network = Perceptron(params.model, "batchnorm", seeds=[0])
    scales, weights = _count(network.norms), _count(network.linears)
    lines = [
        "# Which part of Batch Normalization works?",
        "",
        "*All* is Batch Normalization, *plain* the network without. *Mean only* subtracts the mean and divides by "
        "nothing; *variance only* divides by the deviation and subtracts nothing. Where only Batch Normalization is "
        f"trained, {scales:,} scales and shifts are learned, and {weights:,} weights and biases stay as they were "
        f"drawn. {how_chosen(results, 'The best learning rate of each kind')}. Points are learning rates. Against all "
        "of Batch Normalization:",
        "",
        *markdown_table(*tables[f"against_{ALL}"]),
        "",
        "Against the plain network:",
        "",
        *markdown_table(*tables[f"against_{PLAIN}"]),
        *closing(primary, settings.margin),
    ]
    note = f"{setting(params, results[0].point.values)}, normalisation {value_words(params.model.norm_position)}"
    figures = {
        "rates": draw(
            [_panel(points, settings)],
            f"{note}. Lines: medians of {count_of(len(params.train.seeds), 'seed')}; bands: quartiles.",
            width=6.8,
            height=4.4,
        ),
        "differences": forest(
            {"against all of Batch Normalization": effects[ALL], "against the plain network": effects[PLAIN]},
            "what is left",
            settings.margin,
            f"{note}; each at its best learning rate. "
            f"{explain_differences(len(chosen[ALL].seeds), settings.confidence)}",
        ),
    }
    return Report(lines, figures, tables)


def _points_by_kind(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the points of every kind; the plain network has one for each learning rate of any of them."""
    points: dict[str, list[Result]] = {kind: [] for kind in KINDS.values()}
    plain: dict[str, Result] = {}
    for result in results:
        model, train = result.point.params.model, result.point.params.train
        points[KINDS[model.recentre, model.rescale, model.affine, train.weights]].append(result)
        plain.setdefault(result.point.values["train.lr"], result)
    return points | {PLAIN: [*plain.values()]}


def _variant(kind: str) -> Variant:
    return "plain" if kind == PLAIN else "batchnorm"


def _count(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def _panel(points: Mapping[str, Sequence[Result]], settings: Evaluate) -> Panel:
    lines = [
        line
        for kind, group in points.items()
        for line in error_lines(kind, group, _variant(kind), settings, STYLES[kind])
    ]
    title = "what is left of Batch Normalization"
    return Panel(title, lines, "learning rate", "held-out error (%)", log_x=True, log_y=True)
