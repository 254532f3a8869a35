"""A study's folder: a params.yaml with the grid to sweep and what it sets beside the project's params.yaml."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.params import parse


@dataclass(frozen=True)
class Study:
    """A study.

    grids: each as `KEY=VALUES`; the points of all are swept. overrides: values set at every point. probe: what it
    measures besides, if anything. findings: who puts what it found in words and figures, if not the sweep alone.
    """

    name: str
    grids: tuple[tuple[str, ...], ...]
    overrides: dict[str, str]
    probe: dict[str, Any] | None
    findings: str | None


def read(folder: Path) -> Study:
    """Read `params.yaml` in a study's folder: the section `grid`, and perhaps `set`, `probe` and `findings`.

    Raises:
        UserError: the file cannot be read or has other sections.
    """
    path = folder / "params.yaml"
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict) or not {"grid"} <= set(content) <= {"grid", "set", "probe", "findings"}:
        raise UserError(f"{path}: expected the section grid and, where needed, set, probe and findings")
    listed = content["grid"] if isinstance(content["grid"], list) else [content["grid"]]
    grids = tuple(tuple(f"{key}={text}" for key, text in _section(path, "grid", one).items()) for one in listed)
    fixed = _section(path, "set", content.get("set"))
    probe = content.get("probe")
    if probe is not None and (not isinstance(probe, dict) or set(probe) != {"name", "every"}):
        raise UserError(f"{path}: probe = {probe!r}: should have a name and every how many iterations to measure")
    findings = content.get("findings")
    if not isinstance(findings, str | None):
        raise UserError(f"{path}: findings = {findings!r}: should be a name")
    return Study(folder.resolve().name, grids, fixed, probe, findings)


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
