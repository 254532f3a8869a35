"""Five normalisations at both positions, each at its own best learning rate, against plain and Batch Normalization."""

from collections.abc import Mapping, Sequence

from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import COLOURS, VARIANT_NAMES
from pipeline.analysis.forest import Effect, forest
from pipeline.analysis.statistics import Interval
from pipeline.analysis.tables import markdown_table
from pipeline.analysis.wording import count_of, setting
from pipeline.params import Evaluate, Params, Variant
from pipeline.sweeps.best import how_chosen
from pipeline.sweeps.lines import error_lines
from pipeline.sweeps.panels import Panel, draw, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.sweeps.versus import HEAD, ask_versus, choose_best, explain_differences

POSITIONS = {"after_activation": "after the activation", "before_activation": "before the activation"}
MARKERS = {"after the activation": "o", "before the activation": "^", "": "s"}  # the last: no position
WITHOUT: tuple[Variant, ...] = ("plain", "weightnorm")  # position: the same networks are at both
Kind = tuple[Variant, str]  # a variant and its position in words; none for those of `WITHOUT`


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Compare all variants on the test images, at learning rates chosen on the held-out ones: one family."""
    settings = params.evaluate
    points = _points_by_kind(results)
    chosen = {kind: choose_best(VARIANT_NAMES[kind[0]], group, kind[0]) for kind, group in points.items()}
    plain = chosen["plain", ""]
    family = Family(plain.seeds, ("treatment", "control"))
    differences = {
        kind: ask_versus(
            family, "against_plain", _name(kind, "plain"), treatment, plain, settings, [_place(kind)]
        ).difference
        for kind, treatment in chosen.items()
        if treatment is not plain
    }
    batchnorm = VARIANT_NAMES["batchnorm"]
    for position in POSITIONS.values():
        for (variant, own), treatment in chosen.items():
            if variant not in ("plain", "batchnorm") and own in (position, ""):
                control, kind = chosen["batchnorm", position], (variant, position)
                ask_versus(
                    family, "against_batchnorm", _name(kind, batchnorm), treatment, control, settings, [position]
                )
    tables = family.tables(
        {"against_plain": ["position", *HEAD], "against_batchnorm": ["position of the control", *HEAD]},
        primary,
        settings.confidence,
    )
    lines = [
        "# Batch Normalization, or any?",
        "",
        f"{how_chosen(results, 'The best learning rate of each variant and position')}. Points are learning rates; the "
        "plain network and Weight Normalization have no position. Against the plain network:",
        "",
        *markdown_table(*tables["against_plain"]),
        "",
        "Against Batch Normalization:",
        "",
        *markdown_table(*tables["against_batchnorm"]),
        *closing(primary, settings.margin),
    ]
    note = setting(params, results[0].point.values)
    choosing = count_of(len(params.train.seeds), "seed")
    figures = {
        "rates": draw(
            _panels(points, settings), f"{note}. Lines: medians of {choosing}; bands: quartiles.", share="all"
        ),
        "differences": forest(
            {"against the plain network": _effects(differences)},
            "normalisation",
            settings.margin,
            f"{note}; each at its best learning rate. {explain_differences(len(plain.seeds), settings.confidence)}",
        ),
    }
    return Report(lines, figures, tables)


def _points_by_kind(results: Sequence[Result]) -> dict[Kind, list[Result]]:
    """Return the points of every kind: those of one position."""
    points: dict[Kind, list[Result]] = {}
    for key, words in POSITIONS.items():
        at_position = [result for result in results if result.point.params.model.norm_position == key]
        for variant in results[0].variants:
            points.setdefault((variant, "" if variant in WITHOUT else words), at_position)
    return points


def _name(kind: Kind, control: str) -> str:
    """Return the name of an outcome, such as `Layer Normalization against plain, after the activation`."""
    variant, position = kind
    return ", ".join(filter(None, (f"{VARIANT_NAMES[variant]} against {control}", position)))


def _place(kind: Kind) -> str:
    return kind[1] or "none"


def _panels(points: Mapping[Kind, Sequence[Result]], settings: Evaluate) -> list[Panel]:
    """Draw a panel for each position, and one for the networks without."""
    panels = []
    for position in MARKERS:
        lines = [
            line
            for (variant, own), group in points.items()
            if own == position
            for line in error_lines(VARIANT_NAMES[variant], group, variant, settings, style_of(variant))
        ]
        title = position or "no position"
        panels.append(Panel(title, lines, "learning rate", "held-out error (%)", log_x=True, log_y=True))
    return panels


def _effects(differences: Mapping[Kind, Interval]) -> list[Effect]:
    """Return the differences of all kinds from the plain network, position by position."""
    return [
        Effect(", ".join(filter(None, (VARIANT_NAMES[variant], position))), difference, COLOURS[variant], marker)
        for place, marker in MARKERS.items()
        for (variant, position), difference in differences.items()
        if position == place
    ]
