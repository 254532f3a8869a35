"""A study's folder: the grid to sweep, values to set beside the project's params.yaml, its probe and its report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.params import ALL_VARIANTS, VARIANTS, Params, Variant, format_value, parse
from pipeline.sweeps.probe import Probe, load_function, load_functions
from pipeline.sweeps.report import Report
from pipeline.sweeps.result import Result
from pipeline.sweeps.search import MOST, Choose

REPORT, PROBE = "report.py", "probe.py"
# Keys beside `grid`.
OPTIONAL = ("set", "variants", "primary", "margin", "refine", "confirm", "best_of_k", "probe_every")


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        name: The name of its folder.
        grids: Each as a tuple of `KEY=VALUES`; the points of all grids are swept.
        overrides: Values set at every point, as YAML text by key.
        variants: The variants that it compares: first the control.
        primary: The outcome that its report judges without correction for all others, by the report's name for it.
        probe: What it measures beyond losses and accuracies, if anything.
        report: The function of its `report.py`, if there is one.
        choose: That of the same file which chooses points to confirm beside the best ones, if there is one.
        refine: At most how often points are added around the best ones.
        confirm: The seeds on which the best points are confirmed, as text; none if they are not.
        best_of_k: The numbers k for which the best of k random values of the first key is computed.
    """

    name: str
    grids: tuple[tuple[str, ...], ...]
    overrides: dict[str, str]
    variants: tuple[Variant, ...] = VARIANTS
    primary: str | None = None
    probe: Probe | None = None
    report: Callable[[Sequence[Result], Params, Sequence[int], str | None], Report] | None = None
    choose: Choose | None = None
    refine: int = 0
    confirm: str | None = None
    best_of_k: tuple[int, ...] = ()

    def own_report(self, results: Sequence[Result], params: Params) -> Report | None:
        """Return the study's own lines, figures and tables, or None if it has no `report.py`.

        Args:
            results: All points of its grids.
            params: The parameters that all points share.
        """
        return self.report(results, params, self._steps(results), self.primary) if self.report else None

    def _steps(self, results: Sequence[Result]) -> list[int]:
        """Return the numbers of iterations after which the probe has measured, those of the longest training."""
        probed = (values for result in results for one in result.outcomes.values() for values in one.probed.values())
        count = max((values.shape[1] for values in probed), default=0)
        return list(islice(self.probe.steps(), count)) if self.probe else []


def load_study(folder: Path) -> Study:
    """Read a study's folder: `params.yaml` and, if there are any, `probe.py` and `report.py`.

    `params.yaml` has a section `grid` and optionally a section `set`, the `variants`, the primary outcome `primary`,
    the difference `margin` that does not matter, instead of `evaluate.margin`, the rounds `refine` in which points are
    added, the seeds `confirm`, and the numbers `best_of_k`; with a probe it also has the key `probe_every`, the number
    of iterations between measurements, or a mapping from the last iteration of each interval to such a number.

    Raises:
        UserError: A file cannot be read, or `params.yaml` has other sections.
    """
    path = folder / "params.yaml"
    content = _mapping(path)
    if not {"grid"} <= set(content) <= {"grid", *OPTIONAL}:
        optional = f"{', '.join(OPTIONAL[:-1])} and {OPTIONAL[-1]}"
        raise UserError(f"{path}: expected the section grid and, where needed, {optional}")
    primary, overrides = content.get("primary"), _section(path, "set", content.get("set"))
    if not isinstance(primary, str | None):
        raise UserError(f"{path}: primary = {primary!r}: should be the name of an outcome")
    if "margin" in content:
        overrides["evaluate.margin"] = format_value(content["margin"])
    sections = content["grid"] if isinstance(content["grid"], list) else [content["grid"]]
    texts = [_section(path, "grid", section) for section in sections]
    file, confirm = folder / REPORT, content.get("confirm")
    report, choose = load_functions(str(file), _text_of(file), "report", "choose") if file.exists() else (None, None)
    return Study(
        folder.resolve().name,
        tuple(tuple(f"{key}={text}" for key, text in section.items()) for section in texts),
        overrides,
        parse_variants(f"{path}: variants", content.get("variants", [*VARIANTS])),
        primary,
        _probe(folder, content.get("probe_every")),
        report,
        choose,
        _count(path, "refine", content.get("refine", 0), 0),
        None if confirm is None else format_value(confirm),
        _draws(path, content.get("best_of_k", [])),
    )


def parse_variants(name: str, values: Any) -> tuple[Variant, ...]:
    """Check a list of variants to compare, the control first.

    Args:
        name: What the list is called, for error messages.
        values: The list.

    Raises:
        UserError: It is no list of at least two different variants.
    """
    if not isinstance(values, list) or len(values) < 2 or not all(values.count(value) == 1 for value in values):
        raise UserError(f"{name} = {values!r}: should be a list of at least two, first the control")
    if unknown := [value for value in values if value not in ALL_VARIANTS]:
        raise UserError(f"{name}: {unknown[0]!r}: choose from {', '.join(ALL_VARIANTS)}")
    return tuple(values)


def _count(path: Path, name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        raise UserError(f"{path}: {name} = {value!r}: should be a number from {least} to {MOST}")
    return value


def _draws(path: Path, values: Any) -> tuple[int, ...]:
    if not isinstance(values, list):
        raise UserError(f"{path}: best_of_k = {values!r}: should be a list of numbers, such as [1, 3, 5]")
    return tuple(_count(path, "best_of_k", value, 1) for value in values)


def _mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that maps names to sections; one with other content has no section."""
    try:
        content = parse(_text_of(path))
    except ValueError as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    return content if isinstance(content, dict) else {}


def _probe(folder: Path, every: Any) -> Probe | None:
    path = folder / PROBE
    if not path.exists():
        if every is not None:
            raise UserError(f"{folder / 'params.yaml'}: probe_every = {every!r}: there is no {PROBE} beside it")
        return None
    if problem := _interval_problem(every):
        raise UserError(f"{folder / 'params.yaml'}: probe_every = {every!r}: {problem}")
    source = _text_of(path)
    load_function(str(path), source, "probe")
    return Probe(str(path), source, every)


def _interval_problem(every: Any) -> str | None:
    """Return what is wrong with a value of `probe_every`."""
    intervals = list(every.items()) if isinstance(every, dict) else [(1, every)]
    if not intervals or any(type(number) is not int or number < 1 for pair in intervals for number in pair):
        return "should be a number of iterations, or such numbers by the last iteration at which each holds"
    if any(last <= before for (before, _), (last, _) in pairwise(intervals)):
        return "the last iterations should ascend"
    return None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _section(path: Path, name: str, section: Any) -> dict[str, str]:
    """Return the values of a section as YAML text, the items of a list separated by commas."""
    section = section or {}
    if not isinstance(section, dict):
        raise UserError(f"{path}: {name} = {section!r}: should map parameters to values")
    return {
        str(key): ",".join(map(format_value, value)) if isinstance(value, list) else format_value(value)
        for key, value in section.items()
    }
