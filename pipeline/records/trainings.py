"""What the runs of stages and sweeps have in common: the parameters of a training, its images and its curves."""

import json
from typing import TYPE_CHECKING, Any

from pipeline.data.images import ImageFiles
from pipeline.params import Params, Variant
from pipeline.training.history import Floats, History

if TYPE_CHECKING:  # importing PyTorch and MLflow takes seconds, which commands that record nothing can save
    from pipeline.sweeps.outcome import Outcome
    from pipeline.tracking.runs import Run
    from pipeline.tracking.values import Points


def training_params(params: Params, variant: Variant) -> dict[str, Any]:
    """Return what a training depends on, by dotted name, and its variant."""
    sections = {name: value for name, value in params.flat().items() if not name.startswith("evaluate.")}
    return {**sections, "variant": variant}


def log_images(run: "Run", dataset: str, images: ImageFiles, purpose: str) -> None:
    """Log the data set as MLflow's input, and the digest of its files as a tag."""
    run.set_tags({"digest.data": images.digest})
    run.log_input(dataset, images.digest, purpose, json.dumps(images.counts))


def curves(trained: "History | Outcome", member: int | None = None) -> "dict[str, Points]":
    """Return one member's curves, or their means over the members."""
    return {
        "train/loss": list(enumerate(mean_or_member(trained.train_loss, member), start=1)),
        "validation/loss": list(enumerate(mean_or_member(trained.validation_loss, member))),
        "validation/accuracy": list(enumerate(mean_or_member(trained.validation_accuracy, member))),
    }


def mean_or_member(values: Floats, member: int | None = None) -> Floats:
    """Return one member's values, or their means over the members, of values [members, ...]."""
    picked: Floats = values.mean(axis=0) if member is None else values[member]
    return picked
