"""The command `run`: what `mlflow run` calls."""

import tempfile
from pathlib import Path

import click

from pipeline import paths
from pipeline.commands.images import fetch_images, load_images
from pipeline.commands.options import OVERRIDES, with_overrides
from pipeline.commands.train import train_in_run
from pipeline.errors import UserError
from pipeline.network.normalisation import check_variant
from pipeline.params import ALL_VARIANTS, Variant, load


@click.command(context_settings=OVERRIDES)
@click.option("--batchnorm", default="true", metavar="true|false", help="Whether the network has Batch Normalization.")
@click.option("--variant", type=click.Choice(ALL_VARIANTS), help="Its normalisation, instead of --batchnorm true.")
@with_overrides
def run(batchnorm: str, variant: Variant | None, overrides: dict[str, str]) -> None:
    """Train one variant for MLflow alone, fetching the images if they are missing. DVC's outputs stay as they are.

    \b
    python -m pipeline run --batchnorm false
    python -m pipeline run --variant layernorm --train.lr 0.01 --epochs 2 --seeds 0,1
    """
    chosen = _variant(batchnorm, variant)
    params = load(paths.PARAMS, overrides)
    check_variant(chosen, params.model)
    images = load_images(params.data) if params.data.dataset == "custom" else fetch_images(params.data)
    with tempfile.TemporaryDirectory() as scratch:
        train_in_run(params, chosen, images, Path(scratch) / "training")


def _variant(batchnorm: str, variant: Variant | None) -> Variant:
    """Return the variant; `true` is what MLproject gives where `mlflow run` was given no `batchnorm`."""
    if batchnorm.lower() == "true":
        return variant or "batchnorm"
    if batchnorm.lower() != "false":
        raise UserError(f"batchnorm = {batchnorm}: should be true or false")
    if variant not in (None, "plain"):
        raise UserError(f"variant = {variant}: contradicts batchnorm = false; give one of them")
    return "plain"
