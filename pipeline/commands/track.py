"""The command `track`."""

import functools
from collections.abc import Mapping

import click

from pipeline import paths
from pipeline.commands.folders import hold
from pipeline.commands.images import folder_of, load_images
from pipeline.errors import UserError
from pipeline.params import VARIANTS, Params, load
from pipeline.records.stages import DownloadRecord, EvaluateRecord, StageRecord, TrainRecord
from pipeline.tracking import embedded, ledger, outbox


@click.command()
def track() -> None:
    """Give every stage's outputs a run in MLflow: those that DVC restored from its cache have none yet."""
    params = load(paths.PARAMS)
    outbox.send()
    records = [
        DownloadRecord(params, folder_of(params.data)),
        *(TrainRecord(params, paths.RUNS / variant, variant) for variant in VARIANTS),
        EvaluateRecord(params, paths.RESULTS, paths.RUNS),
    ]
    with hold(*(record.folder for record in records)):
        if missing := next((record for record in records if not record.is_complete()), None):
            raise UserError(f"{missing.stage}: its outputs are missing; run `dvc repro`")
        digests = {record.digest(): record for record in records}
        if not embedded.has_runs(digests):
            _record(params, digests)
        ledger.write({record.stage: digest for digest, record in digests.items()})


def _record(params: Params, records: Mapping[str, StageRecord]) -> None:
    """Record, by their digests, the outputs that have no run."""
    from pipeline.tracking import store  # MLflow takes seconds, and mostly there is nothing to record
    from pipeline.tracking.runs import start_run

    read_once = functools.cache(load_images)
    for digest, record in records.items():
        if not store.has_run(digest):
            images = read_once(params.data)
            print(f"{record.stage}: restored by DVC, recorded in MLflow")
            with start_run(record.stage, {"restored": "true", "dvc.stage": record.stage}) as run:
                record.begin(run)
                record.finish(run, images)
