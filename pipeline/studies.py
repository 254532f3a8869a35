"""A study's folder: a params.yaml with the grid to sweep and what it sets beside the project's params.yaml."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.params import parse


@dataclass(frozen=True)
class Study:
    """A study: its name, the grid as `KEY=VALUES`, and values set at every point."""

    name: str
    grid: tuple[str, ...]
    overrides: dict[str, str]


def read(folder: Path) -> Study:
    """Read `params.yaml` in a study's folder, with the sections `grid` and, if anything is set, `set`.

    Raises:
        UserError: the file cannot be read or has other sections.
    """
    path = folder / "params.yaml"
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(content, dict) or not {"grid"} <= set(content) <= {"grid", "set"}:
        raise UserError(f"{path}: expected the sections grid and, if anything is set, set")
    grid, fixed = (_section(path, content, name) for name in ("grid", "set"))
    return Study(folder.resolve().name, tuple(f"{key}={text}" for key, text in grid.items()), fixed)


def _section(path: Path, content: dict[str, Any], name: str) -> dict[str, str]:
    section = content.get(name) or {}
    if not isinstance(section, dict):
        raise UserError(f"{path}: {name} = {section!r}: should map parameters to values")
    return {str(key): _text(value) for key, value in section.items()}


def _text(value: Any) -> str:
    """Return a value as a grid and an override write it: YAML, and a list without brackets."""
    if isinstance(value, list):
        return ",".join(map(_text, value)) if not any(isinstance(one, list) for one in value) else str(value)[1:-1]
    return "null" if value is None else str(value)
