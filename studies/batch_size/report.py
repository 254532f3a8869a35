"""Three kinds of networks at batches of 4 to 2000, and Batch Normalization over parts of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import LEARNED, compare, learned, summarise
from pipeline.analysis.tables import format_interval, markdown_table
from pipeline.analysis.verdicts import Question
from pipeline.analysis.wording import count_of, setting
from pipeline.params import Evaluate, Params, Variant
from pipeline.sweeps.best import how_chosen
from pipeline.sweeps.panels import Finals, Line, Panel, draw, final_lines, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.sweeps.versus import HEAD, Chosen, ask_versus, choose_best
from pipeline.training.history import Floats

NORM = VARIANT_NAMES["batchnorm"]
KINDS: dict[str, dict[str, Any]] = {  # statistics that Batch Normalization is evaluated by, and their lines
    "running": {"marker": "o"},
    "recomputed": {"marker": "^", "linestyle": ":"},
}
MARKERS: dict[Variant, str] = {"plain": "s", "layernorm": "D"}


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Compare all kinds of networks on the test images, each at its best rate for the batch size: one family."""
    settings = params.evaluate
    whole, ghosts = _by_batch(results), _by_ghost(results)
    whole_batches = replace(whole[max(whole)]["batchnorm"], name="normalising whole batches")
    family = Family(whole_batches.result.seeds or params.train.seeds, ("treatment", "control"))
    for size, chosen in whole.items():
        treatment = chosen["batchnorm"]
        for control in (chosen["layernorm"], chosen["plain"]):
            name = f"batches of {size}: {NORM} against {control.name}"
            ask_versus(family, "batches", name, treatment, control, settings, [str(size)])
    for size, parts in ghosts.items():
        name = f"ghost batches of {size} against whole batches"
        ask_versus(family, "ghosts", name, parts, whole_batches, settings, [str(size)])
    for size, chosen in whole.items():
        _ask_statistics(family, size, chosen["batchnorm"], settings)
    headers = {
        "batches": ["batch size", *HEAD],
        "ghosts": ["ghost batch", *HEAD],
        "statistics": ["batch size", "running statistics", "recomputed statistics", "recomputed minus running"],
    }
    tables = family.tables(headers, primary, settings.confidence)
    size = max(whole)
    lines = [
        "# How few images can Batch Normalization do with?",
        "",
        f"{how_chosen(results, 'The best learning rate of each kind of network and batch size')}. Every training is "
        f"{count_of(params.train.epochs, 'epoch')}, so that it sees as many images whatever the batch size.",
        "",
        *markdown_table(*tables["batches"]),
        "",
        f"Ghost batches: of each batch of {size} so many images are normalised together.",
        "",
        *markdown_table(*tables["ghosts"]),
        "",
        "The same networks with Batch Normalization by running statistics, and by those of 10,000 training images at "
        "the final weights.",
        "",
        *markdown_table(*tables["statistics"]),
        *closing(primary, settings.margin),
    ]
    return Report(lines, {"batch_size": _figure(whole, ghosts, params)}, tables)


def _by_batch(results: Sequence[Result]) -> dict[int, dict[Variant, Chosen]]:
    """Return all variants, each at its best rate, by the batch size, where whole batches are normalised."""
    sizes = sorted({_batch(result) for result in results})
    return {
        size: {
            variant: choose_best(VARIANT_NAMES[variant], _points(results, size, 0), variant)
            for variant in results[0].variants
        }
        for size in sizes
    }


def _by_ghost(results: Sequence[Result]) -> dict[int, Chosen]:
    """Return Batch Normalization at its best rate by the size of its ghost batches, of the largest batches."""
    size = max(map(_batch, results))
    ghosts = sorted({_ghost(result) for result in results} - {0})
    return {
        ghost: choose_best(f"normalising {ghost} images", _points(results, size, ghost), "batchnorm")
        for ghost in ghosts
    }


def _points(results: Sequence[Result], size: int, ghost: int) -> list[Result]:
    return [result for result in results if (_batch(result), _ghost(result)) == (size, ghost)]


def _batch(result: Result) -> int:
    return result.point.params.train.batch_size


def _ghost(result: Result) -> int:
    return result.point.params.model.ghost_batch


def _tested(chosen: Chosen, kind: str) -> Floats:
    """Return the test accuracies [seeds] by a kind of statistics at the end of training."""
    return chosen.result.probed(chosen.variant, f"test_{kind}")


def _ask_statistics(family: Family, size: int, chosen: Chosen, settings: Evaluate) -> None:
    running, recomputed = (_tested(chosen, kind) for kind in KINDS)
    comparison = compare(recomputed, running, settings.confidence)
    question = Question(comparison, "recomputed ones are better", "running ones are better", settings.margin)
    means = (comparison.control.mean, comparison.treatment.mean, comparison.difference)
    row = [str(size), *map(format_interval, means)]
    name = f"batches of {size}: recomputed against running statistics"
    family.ask("statistics", name, question, row, recomputed, running)


def _figure(whole: Mapping[int, Mapping[Variant, Chosen]], ghosts: Mapping[int, Chosen], params: Params) -> Figure:
    settings, size = params.evaluate, max(whole)
    by_size = {variant: {at: chosen[variant] for at, chosen in whole.items()} for variant in whole[size]}
    batches = [
        line
        for variant, marker in MARKERS.items()
        for line in _lines(
            VARIANT_NAMES[variant], by_size[variant], "running", style_of(variant) | {"marker": marker}, settings
        )
    ]
    parts = []
    for kind, style in KINDS.items():
        label, own = NORM if kind == "running" else f"{NORM}, {kind}", style_of("batchnorm") | style
        batches += _lines(label, by_size["batchnorm"], kind, own, settings)
        parts += _lines(label, {**ghosts, size: whole[size]["batchnorm"]}, kind, own, settings)
    panels = [
        Panel("whole batches", batches, "images in a batch", "test error (%)", log_x=True, log_y=True),
        Panel(f"batches of {size}", parts, "images normalised together", "test error (%)", log_x=True, log_y=True),
    ]
    one = whole[size]["batchnorm"].result
    seeds = count_of(len(one.seeds or params.train.seeds), "seed")
    note = (
        f"{setting(one.point.params, ('train.lr', 'train.batch_size'))}; each network at its best learning rate for "
        "this batch size. Batch Normalization is evaluated by running statistics or, dotted, by those of 10,000 "
        f"training images. Lines: medians of {seeds}; bands: quartiles. Crosses: some or all trainings failed "
        f"(accuracy below {LEARNED:g}, or diverged)."
    )
    return draw(panels, note, columns=2, width=5.2, share="all")


def _lines(
    label: str, by_size: Mapping[int, Chosen], kind: str, style: dict[str, Any], settings: Evaluate
) -> list[Line]:
    """Return a line of errors over sizes, and crosses where trainings failed."""
    accuracies = [_tested(chosen, kind) for chosen in by_size.values()]
    finals = [
        Finals(summarise(accuracy, settings.confidence), failed=not learned(accuracy).all()) for accuracy in accuracies
    ]
    return final_lines(label, list(by_size), finals, {**style, "markersize": 4})
