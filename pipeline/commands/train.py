"""The command `train`."""

import time
from pathlib import Path

import click

from pipeline import paths
from pipeline.commands.images import load_images
from pipeline.commands.options import OVERRIDES, with_overrides
from pipeline.data.images import ImageFiles
from pipeline.files import write_folder
from pipeline.params import VARIANTS, Params, Variant, load
from pipeline.records.stages import TrainRecord
from pipeline.stages.train import load_split, train_variant
from pipeline.tracking.stage import stage_run
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.population import Population


@click.command(context_settings=OVERRIDES)
@click.argument("variant", type=click.Choice(VARIANTS))
@with_overrides
def train(variant: Variant, overrides: dict[str, str]) -> None:
    """Train every seed of one variant, into runs/VARIANT.

    VARIANT is one of the two that DVC's pipeline compares; `run --variant` trains any.

    \b
    python -m pipeline train batchnorm
    python -m pipeline train plain --lr 0.01 --seeds 0,1
    """
    params = load(paths.PARAMS, overrides)
    train_in_run(params, variant, load_images(params.data), paths.RUNS / variant)


def train_in_run(params: Params, variant: Variant, images: ImageFiles, folder: Path) -> None:
    """Train one variant inside an MLflow run, and leave its files in `folder`."""
    split = load_split(params, images)
    population = Population(variant, params.model, params.train, params.train.seeds)
    digest = population.digest(params.data.holdout, images.digest)
    checkpoint = Checkpoint(paths.RUNS / f".{variant}-{digest[:16]}.checkpoint")
    record = TrainRecord(params, folder, variant)
    with stage_run(record.stage) as run:
        record.begin(run)
        start = time.perf_counter()
        with write_folder(folder) as part:
            train_variant(params, population, images, split, part, checkpoint)
        seconds = time.perf_counter() - start
        record.finish(run, images, seconds)
    checkpoint.remove()
