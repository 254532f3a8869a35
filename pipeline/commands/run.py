"""The command `run`: what `mlflow run` calls."""

import tempfile
from pathlib import Path

import click

from pipeline import paths
from pipeline.commands.images import fetch_images, load_images
from pipeline.commands.options import OVERRIDES, with_overrides
from pipeline.commands.train import train_in_run
from pipeline.errors import UserError
from pipeline.params import Variant, load


@click.command(context_settings=OVERRIDES)
@click.option("--batchnorm", required=True, metavar="true|false", help="Whether the network has Batch Normalization.")
@with_overrides
def run(batchnorm: str, overrides: dict[str, str]) -> None:
    """Train one variant for MLflow alone, fetching the images if they are missing. DVC's outputs stay as they are.

    \b
    python -m pipeline run --batchnorm false
    python -m pipeline run --batchnorm true --train.lr 0.01 --epochs 2 --seeds 0,1
    """
    if batchnorm.lower() not in ("true", "false"):
        raise UserError(f"batchnorm = {batchnorm}: should be true or false")
    params = load(paths.PARAMS, overrides)
    variant: Variant = "batchnorm" if batchnorm.lower() == "true" else "plain"
    images = load_images(params.data) if params.data.dataset == "custom" else fetch_images(params.data)
    with tempfile.TemporaryDirectory() as scratch:
        train_in_run(params, variant, images, Path(scratch) / "training")
