"""Writes docs/parameters.md from the descriptions of the parameters: `python -m tools.parameters`."""

from pipeline import paths
from pipeline.analysis.tables import markdown_table
from pipeline.files import write_atomic
from pipeline.params import Params, format_value, load
from tools.sandbox import ROOT

PAGE = ROOT / "docs" / "parameters.md"
INTRODUCTION = """# Parameters

Every setting is in `params.yaml`. Each command takes any of them as an option, by its dotted name or, where only one
parameter has it, by its last part: `--train.lr 0.01`, `--lr 0.01`. With `mlflow run` it is `-P lr=0.01`, with DVC's
experiments `-S train.lr=0.01`, and in a grid `--grid train.lr=0.01,0.1`.

This page is made from the descriptions in `pipeline/params.py` by `python -m tools.parameters`.
"""


def page() -> str:
    """Return the page: a table for each section, with every parameter's default and description."""
    params = load(paths.PARAMS)
    lines = [INTRODUCTION]
    for section in Params.model_fields:
        values = getattr(params, section)
        rows = [
            [f"`{section}.{name}`", _text(getattr(values, name)), " ".join((described.description or "").split())]
            for name, described in type(values).model_fields.items()
        ]
        about = (type(values).__doc__ or "").partition("\n")[0]
        lines += [f"## {section}", "", about, "", *markdown_table(["parameter", "default", "meaning"], rows), ""]
    return "\n".join(lines)


def _text(value: object) -> str:
    """Return a default as the page shows it: long lists in short, and nothing for none."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        first, last = value[0], value[-1]
        return f"{first} to {last}" if [*value] == [*range(first, last + 1)] and len(value) > 2 else str([*value])
    return str(value).lower() if isinstance(value, bool) else format_value(value)


if __name__ == "__main__":
    write_atomic(PAGE, page())
