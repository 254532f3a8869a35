"""`params.yaml` as frozen, validated models. The file is the single source: no default is written here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import UserError

Variant = Literal["plain", "batchnorm"]
VARIANTS: tuple[Variant, Variant] = ("plain", "batchnorm")

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A section of `params.yaml`: no unknown key, no silent conversion, no change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    """Which images, and how many of the training images are kept for validation."""

    dataset: Literal["mnist", "fashion_mnist", "kmnist", "custom"]
    directory: Annotated[str, Field(min_length=1)] | None
    holdout: Annotated[int, Field(ge=0)]


class Model(Section):
    """The perceptron, without the one thing that is compared."""

    hidden: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
    activation: Literal["sigmoid", "tanh", "relu"]
    batchnorm_position: Literal["after_activation", "before_activation"]


class Train(Section):
    """How the networks are trained, and on what."""

    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
    epochs: Count
    batch_size: Count
    validation_batch_size: Count
    optimizer: Literal["adam", "sgd"]
    lr: Annotated[float, Field(gt=0)]
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
    digit: Annotated[int, Field(ge=0)]


class Params(Section):
    """All of `params.yaml`."""

    data: Data
    model: Model
    train: Train
    evaluate: Evaluate

    def flat(self) -> dict[str, Any]:
        """Every value under its dotted name, such as `train.lr`."""
        return {f"{section}.{key}": value for section, part in self for key, value in part}


def load(path: Path, overrides: Mapping[str, str] | None = None) -> Params:
    """Read and validate a params file.

    `overrides` maps a dotted name, or its last part where that is unambiguous, to a value written as in YAML;
    a list may be written without brackets (`0,1`).

    Raises:
        UserError: the file cannot be read, or a key or value is not allowed; names every culprit in one line.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {_one_line(error)}") from None
    for name, text in (overrides or {}).items():
        _override(content, name, text)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path.name}: " + "; ".join(_explain(e) for e in error.errors())) from None


def _override(content: Any, name: str, text: str) -> None:
    sections = content if isinstance(content, dict) else {}
    known = [(section, key) for section, part in sections.items() if isinstance(part, dict) for key in part]
    found = [(section, key) for section, key in known if name in (f"{section}.{key}", key)]
    if len(found) != 1:
        among = found or known
        what = "ambiguous" if found else "not a parameter"
        raise UserError(f"{name} = {text}: {what}; choose from {', '.join('.'.join(pair) for pair in among)}")
    section, key = found[0]
    if isinstance(sections[section][key], list) and not text.lstrip().startswith("["):
        text = f"[{text}]"
    try:
        sections[section][key] = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise UserError(f"{section}.{key} = {text}: {_one_line(error)}") from None


def _explain(error: Mapping[str, Any]) -> str:
    location: Sequence[Any] = error["loc"]
    # A union's location ends in the name of the member that was tried.
    name = ".".join(str(part) for part in location if not str(part).startswith(("literal[", "constrained-", "int")))
    if error["type"] == "extra_forbidden":
        return f"{name}: not a parameter; allowed: {', '.join(_allowed(location))}"
    if error["type"] == "missing":
        return f"{name}: missing"
    wanted = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return f"{name or 'content'} = {error['input']!r}: {wanted}"


def _allowed(location: Sequence[Any]) -> list[str]:
    part: Any = Params
    for key in location[:-1]:
        part = part.model_fields[key].annotation
    return sorted(part.model_fields)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
