"""A study's folder: the grid to sweep, what it sets beside the project's params.yaml, its probe and its report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.params import Params, parse
from pipeline.sweeps.probe import Probe, load_function
from pipeline.sweeps.report import Report, Result

REPORT, PROBE = "report.py", "probe.py"


@dataclass(frozen=True)
class Study:
    """A study.

    grids: each as `KEY=VALUES`; the points of all are swept. overrides: values set at every point. probe: what it
    measures besides, if anything. report: its own words and figures, if it has any.
    """

    name: str
    grids: tuple[tuple[str, ...], ...]
    overrides: dict[str, str]
    probe: Probe | None = None
    report: Callable[[Sequence[Result], Params, int], Report] | None = None

    def findings(self, results: Sequence[Result], params: Params) -> Report | None:
        """Return the study's own words and figures about the results of its sweep, if it has any."""
        return self.report(results, params, self.probe.every if self.probe else 0) if self.report else None


def read(folder: Path) -> Study:
    """Read a study's folder: `params.yaml` with the section `grid`, and perhaps `probe.py` and `report.py`.

    `params.yaml` may have a section `set` and, with a probe, the key `probe_every`: iterations between measurements.

    Raises:
        UserError: a file cannot be read, or `params.yaml` has other sections.
    """
    path = folder / "params.yaml"
    content = _mapping(path)
    if not {"grid"} <= set(content) <= {"grid", "set", "probe_every"}:
        raise UserError(f"{path}: expected the section grid and, where needed, set and probe_every")
    listed = content["grid"] if isinstance(content["grid"], list) else [content["grid"]]
    grids = tuple(tuple(f"{key}={text}" for key, text in _section(path, "grid", one).items()) for one in listed)
    fixed = _section(path, "set", content.get("set"))
    report = folder / REPORT
    return Study(
        folder.resolve().name,
        grids,
        fixed,
        _probe(folder, content.get("probe_every")),
        load_function(str(report), _text_of(report), "report") if report.exists() else None,
    )


def _mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that maps names to sections; an empty or other one has none."""
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
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise UserError(f"{folder / 'params.yaml'}: probe_every = {every!r}: should be a number of iterations")
    source = _text_of(path)
    load_function(str(path), source, "probe")
    return Probe(str(path), source, every)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _section(path: Path, name: str, section: Any) -> dict[str, str]:
    section = section or {}
    if not isinstance(section, dict):
        raise UserError(f"{path}: {name} = {section!r}: should map parameters to values")
    return {str(key): _text(value) for key, value in section.items()}


def _text(value: Any) -> str:
    """Return a value as a grid and an override write it: YAML, and a list without brackets."""
    if isinstance(value, list):
        return ",".join(map(_text, value)) if not any(isinstance(one, list) for one in value) else str(value)[1:-1]
    return "null" if value is None else str(value)
