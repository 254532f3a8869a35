"""`params.yaml` as frozen, validated models. The file is the single source: no default is written here."""

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from pipeline.errors import UserError

Variant = Literal["plain", "batchnorm", "layernorm", "groupnorm", "rmsnorm", "weightnorm"]
ALL_VARIANTS: tuple[Variant, ...] = get_args(Variant)
VARIANTS: tuple[Variant, Variant] = ("plain", "batchnorm")  # those that DVC's pipeline compares

TEXTS = ("data.directory",)  # parameters whose values are any text, which is no YAML on the command line

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Units = Annotated[int, Field(ge=1, le=100_000)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A section of `params.yaml`: no unknown key, no silent conversion, no change after loading."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Data(Section):
    """The images, and how many of them are held out for validation."""

    dataset: Literal["mnist", "fashion_mnist", "kmnist", "custom"]
    """mnist, fashion_mnist, kmnist, or custom: your own images (28×28, ten classes) in `data.directory`."""
    directory: Annotated[str, Field(min_length=1)] | None
    """A folder with the images, tried before any download: IDX files under their usual names, `mnist.npz` or tables;
    see [images](troubleshooting.md#images)."""
    holdout: Annotated[int, Field(ge=0, le=1_000_000)]
    """Number of training images held out for validation (the last ones); 0: validate on the test images, as the lab
    does."""


class Model(Section):
    """The architecture of the perceptron, whatever its normalisation."""

    hidden: Annotated[tuple[Units, ...], Field(strict=False, min_length=1)]
    """Units of each hidden layer."""
    activation: Literal["sigmoid", "tanh", "relu"]
    """sigmoid, tanh or relu."""
    norm_position: Literal["after_activation", "before_activation"]
    """Where activations are normalised: after_activation (the lab) or before_activation (Ioffe & Szegedy 2015);
    weightnorm has no position."""
    groups: Units
    """groupnorm only: the groups of each layer's units, which they must divide."""
    ghost_batch: Annotated[int, Field(ge=0, le=1_000_000)]
    """batchnorm only: how many images of a batch training normalises together (Hoffer et al. 2017); 0: all."""
    recentre: bool
    """batchnorm only: whether it subtracts the mean."""
    rescale: bool
    """batchnorm only: whether it divides by the standard deviation."""
    affine: bool
    """batchnorm only: whether it has a learned scale and shift."""
    initial_deviation: Annotated[float, Field(gt=0, le=1000)] | None
    """Standard deviation of normally distributed initial weights, with biases 0; without it, PyTorch's uniform ones."""
    binary_input: bool
    """true: pixels above 1/2 become 1, the others 0 (Ioffe & Szegedy 2015, section 4.1)."""
    noise: bool
    """true: noise during training where activations are normalised or would be (Santurkar et al. 2018)."""


class Train(Section):
    """The training of the networks, and the device for it.

    `workers` is left out wherever a training is described, because it changes no result.
    """

    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
    """One training each; both variants of a seed share initial weights and batches."""
    epochs: Count
    """Passes over the training images."""
    batch_size: Count
    """Images per step; the last, smaller batch of an epoch is kept."""
    validation_batch_size: Count
    """Images per forward pass when measuring; bounds memory, not results."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"]
    """adam, adamw, rmsprop or sgd."""
    lr: Annotated[float, Field(gt=0, le=1e6)]
    """Learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """sgd only: of gradient descent."""
    weight_decay: Annotated[float, Field(ge=0, le=1e6)]
    """adamw only: every step shrinks all weights by the learning rate times this fraction."""
    weights: Literal["all", "norms"]
    """all or norms: only the scales and shifts of normalisations are trained (Frankle et al. 2021); networks without
    any train all."""
    device: Literal["auto", "cpu", "cuda"]
    """auto (CUDA if there is a GPU), cpu or cuda."""
    threads: Annotated[int, Field(ge=1, le=1024)]
    """Threads of one training; more than one changes rounding."""
    workers: Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=1024)], Field(exclude=True)]
    """Processes that train at the same time: auto (the cores at hand, fewer for little work) or a number; 1 is the
    calling process. It changes no result."""
    matmul_precision: Literal["highest", "high", "medium"]
    """highest, high or medium: how far matrix products may be rounded, for speed."""

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("every seed may appear only once")
        return seeds


class Evaluate(Section):
    """The comparison of the two variants."""

    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Confidence level of all intervals and verdicts."""
    margin: Annotated[float, Field(gt=0, lt=1)]
    """Difference of accuracies that does not matter: two variants are called equivalent if two one-sided tests show
    that they differ by less."""
    digit: Annotated[int, Field(ge=0, lt=10_000)]
    """Index of the test image in the lab's own view."""


class Params(Section):
    """All of `params.yaml`."""

    data: Data
    model: Model
    train: Train
    evaluate: Evaluate

    def flat(self) -> dict[str, Any]:
        """Return every value that can change a result by its dotted name, such as `train.lr`."""
        return {f"{section}.{key}": value for section, part in self for key, value in part.model_dump().items()}


class ParamsFile:
    """A params file that is read once, and then combined with any overrides."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            UserError: It cannot be read.
        """
        self._name = path.name
        try:
            self._content = parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from None

    def params(self, overrides: Mapping[str, str]) -> Params:
        """Return the file's parameters with overrides, validated.

        Args:
            overrides: Values as YAML text, by dotted name or, if it is unambiguous, the last part of one. A list may be
                written without brackets (`0,1`).

        Raises:
            UserError: A key or value is not allowed; one line names all of them.
        """
        content = copy.deepcopy(self._content)
        overridden = {_override(content, name, text): text for name, text in overrides.items()}
        try:
            return Params.model_validate(content)
        except ValidationError as error:
            explained = _explain(error)
            lines = [explained.pop(name) + _hint(name, text) for name, text in overridden.items() if name in explained]
            if explained:
                lines.insert(0, f"{self._name}: {'; '.join(explained.values())}")
            raise UserError("; ".join(lines)) from None


def load(path: Path, overrides: Mapping[str, str] | None = None) -> Params:
    """Read and validate a params file: `ParamsFile(path).params(overrides)`."""
    return ParamsFile(path).params(overrides or {})


def parse(text: str) -> Any:
    """Parse YAML 1.2, in which 1e-5 is a number.

    Raises:
        ValueError: The text is not YAML, or has an alias: nested aliases can expand a few lines to gigabytes.
    """
    try:
        events = YAML(typ="safe", pure=True).parse(text) if "*" in text else ()
        if alias := next((event.anchor for event in events if isinstance(event, AliasEvent)), None):
            raise ValueError(f"*{alias}: an alias; write the value out")
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(error) from None


def format_value(value: Any) -> str:
    """Return a parameter's value as YAML text, as grids, overrides and the names of runs contain it."""
    return "null" if value is None else str(value)


def _override(content: Any, name: str, text: str) -> str:
    """Set a value given as YAML text, or as it is where any text is a value; return the key's dotted name."""
    name = name.replace("-", "_")
    sections = content if isinstance(content, dict) else {}
    known = {
        f"{section}.{key}": (section, key)
        for section, part in sections.items()
        if isinstance(part, dict)
        for key in part
    }
    matches = [full for full, (_, key) in known.items() if name in (full, key)]
    if len(matches) != 1:
        problem = "ambiguous" if matches else "not a parameter"
        raise UserError(f"{name} = {text}: {problem}; choose from {', '.join(matches or known)}")
    section, key = known[matches[0]]
    if isinstance(sections[section][key], list) and not text.lstrip().startswith("["):
        text = f"[{text}]"
    try:
        as_text = matches[0] in TEXTS and text not in ("", "null")
        sections[section][key] = text if as_text else parse(text)
    except ValueError as error:
        raise UserError(f"{matches[0]} = {text}: {error}") from None
    return matches[0]


def _hint(name: str, text: str) -> str:
    """Return what to write instead of a value that belongs into a grid or has a decimal comma."""
    if re.match(r"\s*(log|lin)\(", text):
        return f" (a range belongs into a grid: sweep --grid '{name}={text}')"
    if re.fullmatch(r"\s*[\d.]+(\s*,\s*[\d.]+)+\s*", text):
        return f" (a decimal point is a dot; several values belong into a grid: sweep --grid {name}={text})"
    return ""


def _explain(error: ValidationError) -> dict[str, str]:
    """Return one explanation for each key, by its dotted name; a key of two types collects a reason for each."""
    reasons: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    for details in error.errors():
        name = _name_of(details["loc"])
        if details["type"] == "extra_forbidden":
            reason = f"not a parameter; allowed: {', '.join(_allowed(details['loc']))}"
        elif details["type"] == "missing":
            reason = "missing"
        elif details["type"] == "too_short" and any(other.startswith(f"{name}.") for other in reasons):
            continue  # the list is only too short because its items are invalid
        else:
            reason = details["msg"].removeprefix("Input ").removeprefix("Value error, ")
            values.setdefault(name, f" = {_shown(details['input'])}")
        reasons.setdefault(name, []).append(reason)
    lines: dict[str, str] = {}
    for name, texts in reasons.items():  # the items of a list are explained together, under the name of the list
        key = ".".join(name.split(".")[:2])
        line = f"{name}{values.get(name, '')}: {' or '.join(texts)}"
        lines[key] = f"{lines[key]}; {line}" if key in lines else line
    return lines


def _name_of(location: tuple[int | str, ...]) -> str:
    """Return the dotted name of a location: section, key and indices, without the type that pydantic tried."""
    indices = (part for part in location[2:] if isinstance(part, int))
    return ".".join(map(str, (*location[:2], *indices))) or "content"


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Params
    for key in location[:-1]:
        section = section.model_fields[key].annotation
    return sorted(section.model_fields)


def _shown(value: Any) -> str:
    try:
        return repr(value)[:100]
    except ValueError:
        return "a number with thousands of digits"
