"""What several commands take: any parameter of params.yaml, as --NAME VALUE."""

from collections.abc import Callable
from typing import Any

import click

from pipeline.errors import UserError

OVERRIDES: dict[str, Any] = {"ignore_unknown_options": True}


def with_overrides(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument `overrides`: names and values, as text."""
    return click.argument(
        "overrides", nargs=-1, type=click.UNPROCESSED, callback=_overrides, metavar="[--NAME VALUE]..."
    )(command)


def flag(name: str, help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag that may have a value: `mlflow run -P dry-run=true` appends `--dry-run true`."""
    return click.option(name, is_flag=False, flag_value="true", default="false", type=bool, metavar="", help=help)


def _overrides(_: click.Context, __: click.Parameter, tokens: tuple[str, ...]) -> dict[str, str]:
    """Read `--train.lr 0.01 --epochs=2` as names and values."""
    overrides: dict[str, str] = {}
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        name, equals, value = token.partition("=")
        if not name.startswith("--"):
            raise UserError(f"{token!r}: expected --NAME VALUE, where NAME is a parameter of params.yaml")
        if not equals:
            if not rest:
                raise UserError(f"{name}: its value is missing")
            value = rest.pop(0)
        overrides[name.removeprefix("--")] = value
    return overrides
