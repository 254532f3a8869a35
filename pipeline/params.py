"""`params.yaml` as frozen, validated models. The file is the single source: no default is written here."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from pipeline.errors import UserError

Variant = Literal["plain", "batchnorm"]
VARIANTS: tuple[Variant, Variant] = ("plain", "batchnorm")

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Units = Annotated[int, Field(ge=1, le=100_000)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A section of `params.yaml`: no unknown key, no silent conversion, no change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    """Which images, and how many of the training images are kept for validation."""

    dataset: Literal["mnist", "fashion_mnist", "kmnist", "custom"]
    directory: Annotated[str, Field(min_length=1)] | None
    holdout: Annotated[int, Field(ge=0, le=1_000_000)]


class Model(Section):
    """The perceptron, without the one thing that is compared."""

    hidden: Annotated[tuple[Units, ...], Field(strict=False, min_length=1)]
    activation: Literal["sigmoid", "tanh", "relu"]
    batchnorm_position: Literal["after_activation", "before_activation"]
    initial_deviation: Annotated[float, Field(gt=0, le=1000)] | None
    binary_input: bool
    noise: bool


class Train(Section):
    """How the networks are trained, and on what."""

    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
    epochs: Count
    batch_size: Count
    validation_batch_size: Count
    optimizer: Literal["adam", "sgd"]
    lr: Annotated[float, Field(gt=0, le=1e6)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    device: Literal["auto", "cpu", "cuda"]
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("every seed may appear once")
        return seeds


class Evaluate(Section):
    """How the two variants are compared."""

    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    digit: Annotated[int, Field(ge=0, lt=10_000)]


class Params(Section):
    """All of `params.yaml`."""

    data: Data
    model: Model
    train: Train
    evaluate: Evaluate

    def flat(self) -> dict[str, Any]:
        """Every value under its dotted name, such as `train.lr`."""
        return {f"{section}.{key}": value for section, part in self for key, value in part}


class ParamsFile:
    """A params file, read once, from which parameters are made with any overrides."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            UserError: it cannot be read.
        """
        self._name = path.name
        try:
            self._content = parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from None

    def params(self, overrides: Mapping[str, str]) -> Params:
        """Return validated parameters.

        `overrides` maps a dotted name, or its last part where that is unambiguous, to a value written as in YAML;
        a list may be written without brackets (`0,1`).

        Raises:
            UserError: a key or value is not allowed; names every culprit in one line.
        """
        content = copy.deepcopy(self._content)
        for name, text in overrides.items():
            _override(content, name, text)
        try:
            return Params.model_validate(content)
        except ValidationError as error:
            raise UserError(f"{self._name}: {'; '.join(_explain(error))}") from None


def load(path: Path, overrides: Mapping[str, str] | None = None) -> Params:
    """Read and validate a params file: `ParamsFile(path).params(overrides)`."""
    return ParamsFile(path).params(overrides or {})


def parse(text: str) -> Any:
    """Read YAML 1.2, where 1e-5 is a number. Raises `ValueError`, for aliases too: nine of them can hold gigabytes."""
    try:
        events = YAML(typ="safe", pure=True).parse(text) if "*" in text else ()
        if alias := next((event.anchor for event in events if isinstance(event, AliasEvent)), None):
            raise ValueError(f"*{alias}: an alias; write the value out")
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(error) from None


def _override(content: Any, name: str, text: str) -> None:
    sections = content if isinstance(content, dict) else {}
    known = {
        f"{section}.{key}": (section, key)
        for section, part in sections.items()
        if isinstance(part, dict)
        for key in part
    }
    found = [full for full, (_, key) in known.items() if name in (full, key)]
    if len(found) != 1:
        what = "ambiguous" if found else "not a parameter"
        raise UserError(f"{name} = {text}: {what}; choose from {', '.join(found or known)}")
    section, key = known[found[0]]
    if isinstance(sections[section][key], list) and not text.lstrip().startswith("["):
        text = f"[{text}]"
    try:
        sections[section][key] = parse(text)
    except ValueError as error:
        raise UserError(f"{found[0]} = {text}: {error}") from None


def _explain(error: ValidationError) -> list[str]:
    """Say for every key what is wrong with it; a key that may be of two types is wrong in two ways."""
    wrong: dict[str, list[str]] = {}
    shown: dict[str, str] = {}
    for one in error.errors():
        location = one["loc"]
        # Behind section and key stand the place in a list and, for a key of two types, the one that was tried.
        name = (
            ".".join(map(str, (*location[:2], *(part for part in location[2:] if isinstance(part, int))))) or "content"
        )
        if one["type"] == "extra_forbidden":
            reason = f"not a parameter; allowed: {', '.join(_allowed(location))}"
        elif one["type"] == "missing":
            reason = "missing"
        elif one["type"] == "too_short" and any(other.startswith(f"{name}.") for other in wrong):
            continue  # because no item of the list was right
        else:
            reason = one["msg"].removeprefix("Input ").removeprefix("Value error, ")
            shown.setdefault(name, f" = {_shown(one['input'])}")
        wrong.setdefault(name, []).append(reason)
    return [f"{name}{shown.get(name, '')}: {' or '.join(reasons)}" for name, reasons in wrong.items()]


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    part: Any = Params
    for key in location[:-1]:
        part = part.model_fields[key].annotation
    return sorted(part.model_fields)


def _shown(value: Any) -> str:
    try:
        return repr(value)[:100]
    except ValueError:
        return "a number of thousands of digits"
