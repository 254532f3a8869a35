"""The command `train`."""

import shutil
import sys
import time
from pathlib import Path

import click

from pipeline import paths
from pipeline.analysis.wording import count_of
from pipeline.commands.folders import hold
from pipeline.commands.images import load_images
from pipeline.commands.options import OVERRIDES, with_overrides
from pipeline.data.images import ImageFiles
from pipeline.files import write_folder
from pipeline.params import VARIANTS, Params, Variant, load
from pipeline.progress import Progress
from pipeline.stages.train import load_split, train_variant
from pipeline.training.loop import Epoch
from pipeline.training.population import Population
from pipeline.workers import open_workers


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
    population = Population(variant, params.model, params.train, params.train.seeds)
    digest = population.digest(params.data.holdout, images.digest)
    checkpoints = paths.RUNS / f".{variant}-{digest[:16]}"
    with (
        hold(folder),
        open_workers(params.train, load_split(params, images), population.epochs()) as workers,
    ):
        workers.start()
        what = f"{count_of(len(population.seeds), 'network')}, {count_of(params.train.epochs, 'epoch')} each"
        click.echo(f"train {variant}: {what}, {count_of(workers.count, 'worker')}", err=True)
        from pipeline.records.live import LiveCurves  # imports MLflow, while workers start
        from pipeline.records.stages import TrainRecord
        from pipeline.tracking.stage import stage_run

        record = TrainRecord(params, folder, variant)
        with stage_run(record.stage) as run:
            record.begin(run)
            start = time.perf_counter()
            live = LiveCurves(run, record)
            with write_folder(folder) as part, Progress(f"train {variant}", population.epochs()) as progress:

                def report(number: int, epoch: Epoch) -> None:
                    progress(number, epoch)
                    live(epoch)

                train_variant(params, population, images.digest, workers, part, _made(checkpoints), report)
            seconds = time.perf_counter() - start
            record.finish(run, images, seconds)
            shutil.rmtree(checkpoints, ignore_errors=True)


def _made(checkpoints: Path) -> Path | None:
    """Make a folder for checkpoints; where that is not possible, say so and return None."""
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"{checkpoints}: {error.strerror}; a training that is killed will start over", file=sys.stderr)
        return None
    return checkpoints
