"""What the runs of stages and sweeps have in common: the parameters of a training, its images and its curves."""

import json
from typing import TYPE_CHECKING, Any

from pipeline.data.idx import FILES
from pipeline.data.images import ImageFiles
from pipeline.params import Params, Variant
from pipeline.tracking.contents import DataSet
from pipeline.training.history import Floats, History

if TYPE_CHECKING:  # importing PyTorch and MLflow takes seconds, which commands that record nothing can save
    from pipeline.sweeps.outcome import Outcome
    from pipeline.tracking.runs import Run
    from pipeline.tracking.values import Points

LIVE_METRICS = {  # what an epoch reports, and the metric that has its values
    "train_loss": "train/loss_of_epoch",
    "loss": "validation/loss",
    "accuracy": "validation/accuracy",
}
NEUTRAL = {"mlflow.runColor": "#555555"}  # the colour of a run that is of no variant
SOURCES = {  # the pages of those who have published the images
    "mnist": "https://yann.lecun.com/exdb/mnist/",
    "fashion_mnist": "https://github.com/zalandoresearch/fashion-mnist",
    "kmnist": "https://github.com/rois-codh/kmnist",
}


def training_params(params: Params, variant: Variant) -> dict[str, Any]:
    """Return what a training depends on, by dotted name, and its variant."""
    sections = {name: value for name, value in params.flat().items() if not name.startswith("evaluate.")}
    return {**sections, "variant": variant}


def colour_tag(variant: Variant) -> dict[str, str]:
    """Return the tag that gives a run's curves the colour of its variant in every figure."""
    from pipeline.analysis.figures import COLOURS

    return {"mlflow.runColor": COLOURS[variant].lower()}


def log_images(run: "Run", dataset: str, images: ImageFiles, purpose: str) -> None:
    """Log the data set as MLflow's input, and the digest of its files as a tag."""
    run.set_tags({"digest.data": images.digest})
    shapes = {name: ("uint8", (-1, *images.arrays[name].shape[1:])) for name in FILES}
    data = DataSet(
        name=dataset,
        digest=images.digest,
        source=SOURCES.get(dataset, f"data/{dataset}"),
        features={name: shape for name, shape in shapes.items() if "images" in name},
        targets={name: shape for name, shape in shapes.items() if "labels" in name},
        profile=json.dumps(images.counts),
    )
    run.log_input(data, purpose)


def curves(trained: "History | Outcome", member: int | None = None) -> "dict[str, Points]":
    """Return one member's curves, or their means over the members; a sweep's outcome has no loss of every iteration."""
    losses = trained.train_loss
    values = {
        "train/loss_of_epoch": losses.reshape(len(losses), trained.validation_loss.shape[1] - 1, -1).mean(axis=2),
        "validation/loss": trained.validation_loss,
        "validation/accuracy": trained.validation_accuracy,
    }
    if isinstance(trained, History):
        values["train/loss"] = losses
    return {
        name: list(enumerate(mean_or_member(steps, member), start=int(name.startswith("train/"))))
        for name, steps in values.items()
    }


def mean_or_member(values: Floats, member: int | None = None) -> Floats:
    """Return one member's values, or their means over the members, of values [members, ...]."""
    picked: Floats = values.mean(axis=0) if member is None else values[member]
    return picked
