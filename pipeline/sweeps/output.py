"""The files of a sweep: its table, its answer in words, and its figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.analysis import figures
from pipeline.analysis.family import PAIRS
from pipeline.analysis.statistics import LEARNED
from pipeline.analysis.tables import latex_table, markdown_table
from pipeline.analysis.wording import count_of, setting
from pipeline.errors import UserError
from pipeline.files import to_csv, write_atomic
from pipeline.params import Params
from pipeline.sweeps import panels
from pipeline.sweeps.best import best_table
from pipeline.sweeps.best_of_k import best_of_k, explain_best_of_k
from pipeline.sweeps.judge import judge_best
from pipeline.sweeps.lines import finals_of
from pipeline.sweeps.report import Report, answer, compact_table, seeds_table, table
from pipeline.sweeps.result import Result, best, groups
from pipeline.sweeps.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_results(results: Sequence[Result], params: Params, folder: Path, study: Study | None = None) -> list[Path]:
    """Write the table, answer and figures of a sweep, with its study's own report if there is one.

    Args:
        results: All points of the grid.
        params: The parameters that all points share.
        folder: Where the files go.
        study: The study that the sweep belongs to, if any.

    Returns:
        The files written.

    Raises:
        UserError: There are no results, or a file cannot be written.
    """
    if not results:
        raise UserError("the sweep has no results")
    own_report = study.own_report(results, params) if study else None
    report = own_report or Report([], {"accuracy": _accuracy_figure(results, params)})
    primary, holdout = study.primary if study else None, params.data.holdout
    tables = {"table": table(results, params.evaluate), "per_seed": seeds_table(results), **report.tables}
    verdicts: list[str] = []
    if holdout and not own_report:
        verdicts, tables[PAIRS] = judge_best(results, params.evaluate, primary)
    lines = [*report.lines, answer(results, params.evaluate, holdout, verdicts)]
    if any(result.confirmed for result in results):
        tables["confirmed"] = best_table(results, params.evaluate)
    if study and study.best_of_k:
        tables["best_of_k"] = header, rows = best_of_k(results, study.best_of_k, params.evaluate.confidence)
        lines += [*explain_best_of_k(results), "", *markdown_table(header, rows), ""]
    contents: dict[str, str | bytes] = {
        "answer.md": "\n".join(lines),
        "table.tex": latex_table(*compact_table(results, params.evaluate)),
        **{f"{name}.csv": to_csv(*columns) for name, columns in tables.items()},
    }
    for name, figure in report.figures.items():
        contents |= figures.files(figure, name)
    for name, content in contents.items():
        write_atomic(folder / name, content)
    return [folder / name for name in contents]


def remove_stale(folder: Path, written: Sequence[Path]) -> None:
    """Remove the tables that an earlier sweep of this name left, and this one has not written."""
    for name in {"confirmed.csv", "best_of_k.csv", f"{PAIRS}.csv"} - {path.name for path in written}:
        (folder / name).unlink(missing_ok=True)


def _accuracy_figure(results: Sequence[Result], params: Params) -> "Figure":
    settings, holdout = params.evaluate, params.data.holdout
    variants = results[0].variants
    chosen = {
        variant: [best(group, variant) for group in groups(results).values()] if holdout else [] for variant in variants
    }
    finals = {
        variant: [
            finals_of(result, variant, settings, chosen=any(result is one for one in chosen[variant]))
            for result in results
        ]
        for variant in variants
    }
    points = [result.point.values for result in results]
    seeds = count_of(len(params.train.seeds), "seed")
    note = (
        f"{setting(results[0].point.params, points[0])}. Lines: medians of {seeds}; "
        f"bands: quartiles. Crosses: some or all trainings failed (accuracy below {LEARNED:g}, or diverged)."
    )
    return panels.sweep(points, finals, f"{'held-out' if holdout else 'test'} error (%)", note)
