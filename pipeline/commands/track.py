"""The command `track`."""

import functools

import click

from pipeline import paths
from pipeline.commands.images import folder_of, load_images
from pipeline.errors import UserError
from pipeline.params import VARIANTS, load
from pipeline.records.stages import DownloadRecord, EvaluateRecord, TrainRecord
from pipeline.tracking import ledger, outbox, store
from pipeline.tracking.runs import start_run


@click.command()
def track() -> None:
    """Give every stage's outputs a run in MLflow: those that DVC restored from its cache have none yet."""
    params = load(paths.PARAMS)
    outbox.send()
    records = [
        DownloadRecord(params, folder_of(params.data)),
        *(TrainRecord(params, paths.RUNS / variant, variant) for variant in VARIANTS),
        EvaluateRecord(params, paths.RESULTS),
    ]
    read_once = functools.cache(load_images)
    digests = {}
    for record in records:
        if not record.is_complete():
            raise UserError(f"{record.stage}: its outputs are missing; run `dvc repro`")
        digests[record.stage] = record.digest()
        if not store.has_run(digests[record.stage]):
            images = read_once(params.data)
            print(f"{record.stage}: restored by DVC, recorded in MLflow")
            with start_run(record.stage, {"restored": "true", "dvc.stage": record.stage}) as run:
                record.begin(run)
                record.finish(run, images)
    ledger.write(digests)
