"""The tuned differences, the positions and the lab's setting, on one set of images after another."""

from collections.abc import Sequence

from pipeline.analysis.family import Family, closing
from pipeline.analysis.figures import VARIANT_NAMES
from pipeline.analysis.statistics import LEARNED
from pipeline.analysis.tables import Table, markdown_table
from pipeline.analysis.wording import DATASETS, count_of, join_words, seed_words, setting, value_words
from pipeline.params import Evaluate, Params, Variant
from pipeline.sweeps.best import how_chosen
from pipeline.sweeps.lines import error_lines
from pipeline.sweeps.panels import Panel, draw, style_of
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.sweeps.versus import HEAD, Chosen, ask_versus, choose_best

AFTER, BEFORE = "after_activation", "before_activation"
LAB = 0.1  # the lab's learning rate
LEAST = {"fashion_mnist": 0.8}  # accuracy below which a training has failed on images that are harder than MNIST's
SIDES: tuple[Variant, Variant] = ("batchnorm", "plain")  # treatment and control
HELD_OUT = [column.replace("test", "held-out") for column in HEAD]


def report(results: Sequence[Result], params: Params, _steps: Sequence[int], primary: str | None) -> Report:
    """Ask the same of every set of images, judge all answers together, and say which verdicts agree."""
    settings = params.evaluate
    family = Family(params.train.seeds, ("treatment", "control"))
    sets = list(dict.fromkeys(result.point.params.data.dataset for result in results))
    for dataset in sets:
        _ask(family, dataset, [one for one in results if one.point.params.data.dataset == dataset], settings)
    headers = {"tested": HEAD, "at_the_labs_rate": HELD_OUT}
    tables = family.tables(
        {table: ["images", "finding", *header] for table, header in headers.items()}, primary, settings.confidence
    )
    tables["agreement"] = _agreement([row for table in headers for row in tables[table][1]])
    choosing = params.train.seeds
    failed = join_words([f"below {_least(dataset):g} on {DATASETS[dataset]}" for dataset in sets])
    lines = [
        "# Do the findings hold elsewhere?",
        "",
        f"{how_chosen(results, 'The best learning rate of each kind of network')}. Points are learning rates. "
        f"Trainings failed if they diverged or their accuracy is {failed}; in the tables of all points, at the end, "
        f"{LEARNED:g} holds for all images.",
        "",
        *markdown_table(*tables["tested"]),
        "",
        f"At the lab's learning rate, on the held-out images, of {seed_words(choosing)}:",
        "",
        *markdown_table(*tables["at_the_labs_rate"]),
        "",
        "Whether the verdicts agree:",
        "",
        *markdown_table(*tables["agreement"]),
        *closing(primary, settings.margin),
    ]
    note = (
        f"{setting(params, results[0].point.values)}, {join_words([DATASETS[dataset] for dataset in sets])}. "
        f"Lines: medians of {count_of(len(choosing), 'seed')}; bands: quartiles. "
        f"After, before: the activation. Failed: diverged or {failed}."
    )
    figure = draw(_panels(results, settings), note, columns=len(sets), width=4.9, height=2.9, share="column")
    return Report(lines, {"rates": figure}, tables)


def _ask(family: Family, dataset: str, results: Sequence[Result], settings: Evaluate) -> None:
    """Add the outcomes of one set of images to a family."""
    images, least = DATASETS[dataset], _least(dataset)

    def ask(table: str, training: str, finding: str, treatment: Chosen, control: Chosen) -> None:
        cells = [images, f"{training}: {finding}"]
        ask_versus(family, table, f"{images}, {training}: {finding}", treatment, control, settings, cells)

    for optimizer in ("adam", "sgd"):
        points = _select(results, optimizer, "sigmoid", AFTER)
        tuned = (choose_best(VARIANT_NAMES[variant], points, variant, least) for variant in SIDES)
        ask("tested", f"{value_words(optimizer)}, sigmoid", "tuned difference", *tuned)
    for function in dict.fromkeys(result.point.params.model.activation for result in results):
        positions = (
            choose_best(value_words(position), _select(results, "adam", function, position), "batchnorm", least)
            for position in (AFTER, BEFORE)
        )
        ask("tested", f"Adam, {value_words(function)}", "after against before", *positions)
    at_lab = next(one for one in _select(results, "adam", "sigmoid", AFTER) if one.point.params.train.lr == LAB)
    both = (Chosen(VARIANT_NAMES[variant], at_lab, variant, held_out=True, least=least) for variant in SIDES)
    ask("at_the_labs_rate", "Adam, sigmoid", f"at {LAB:g}", *both)


def _least(dataset: str) -> float:
    return LEAST.get(dataset, LEARNED)


def _select(results: Sequence[Result], optimizer: str, function: str, position: str) -> list[Result]:
    """Return the points of one optimizer, activation function and position."""
    return [
        result
        for result in results
        if result.point.params.train.optimizer == optimizer
        and (result.point.params.model.activation, result.point.params.model.norm_position) == (function, position)
    ]


def _agreement(rows: Sequence[Sequence[str]]) -> Table:
    """Return a header, and a row for each finding: the verdict on each set of images, and whether all are the same.

    Args:
        rows: Images, finding, any cells, and last the verdict.
    """
    verdicts: dict[str, dict[str, str]] = {}
    for images, finding, *_, verdict in rows:
        verdicts.setdefault(finding, {})[images] = verdict
    agreement = [
        [finding, *by_images.values(), "yes" if len(set(by_images.values())) == 1 else "no"]
        for finding, by_images in verdicts.items()
    ]
    return ["finding", *next(iter(verdicts.values())), "the same verdict"], agreement


def _panels(results: Sequence[Result], settings: Evaluate) -> list[Panel]:
    """Draw a row for each optimizer and activation function, with the sets of images side by side."""
    grouped: dict[tuple[str, str], dict[str, list[Result]]] = {}
    for result in results:
        params = result.point.params
        row = grouped.setdefault((params.train.optimizer, params.model.activation), {})
        row.setdefault(params.data.dataset, []).append(result)
    panels = []
    for (optimizer, function), row in grouped.items():
        for dataset, group in row.items():
            after, before = (_select(group, optimizer, function, position) for position in (AFTER, BEFORE))
            least = _least(dataset)
            lines = error_lines(
                VARIANT_NAMES["plain"], after, "plain", settings, {**style_of("plain"), "marker": "s"}, least
            )
            drawn = [("after", after, {"marker": "o"})]
            drawn += [("before", before, {"marker": "^", "linestyle": ":"})] if before else []
            for name, points, style in drawn:
                label = f"{VARIANT_NAMES['batchnorm']} {name}"
                lines += error_lines(label, points, "batchnorm", settings, {**style_of("batchnorm"), **style}, least)
            title = f"{DATASETS[dataset]}: {value_words(optimizer)}, {value_words(function)}"
            panels.append(Panel(title, lines, "learning rate", "held-out error (%)", log_x=True, log_y=True))
    return panels
