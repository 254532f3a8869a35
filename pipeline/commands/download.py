"""The command `download`."""

import time

import click

from pipeline import paths
from pipeline.commands.images import fetch_images, folder_of
from pipeline.commands.options import OVERRIDES, with_overrides
from pipeline.params import load
from pipeline.records.stages import DownloadRecord
from pipeline.tracking import embedded, provenance


@click.command(context_settings=OVERRIDES)
@with_overrides
def download(overrides: dict[str, str]) -> None:
    """Fetch and verify the images.

    \b
    python -m pipeline download
    python -m pipeline download --dataset kmnist
    """
    params = load(paths.PARAMS, overrides)
    start = time.perf_counter()
    images = fetch_images(params.data)
    seconds = time.perf_counter() - start
    record = DownloadRecord(params, folder_of(params.data))
    if embedded.has_runs([record.digest()]) and not provenance.given_run():
        return
    from pipeline.tracking.stage import stage_run  # MLflow takes seconds, and mostly these images have their run

    with stage_run(record.stage) as run:
        record.begin(run)
        record.finish(run, images, seconds)
