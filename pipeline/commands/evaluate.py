"""The command `evaluate`."""

import contextlib
import tempfile
import time
from pathlib import Path

import click

from pipeline import paths
from pipeline.commands.images import load_images
from pipeline.commands.options import OVERRIDES, flag, with_overrides
from pipeline.files import write_folder
from pipeline.params import load
from pipeline.records.stages import EvaluateRecord
from pipeline.stages.evaluate.stage import compare_variants, load_inputs
from pipeline.tracking.process import exclusive
from pipeline.tracking.stage import stage_run

WAIT = 60.0  # seconds for another comparison to end


@click.command(context_settings=OVERRIDES)
@flag("--scratch", "Leave results/lab alone: the results go to MLflow only.")
@with_overrides
def evaluate(scratch: bool, overrides: dict[str, str]) -> None:
    """Compare the two variants in runs/, into results/lab.

    \b
    python -m pipeline evaluate
    python -m pipeline evaluate --scratch --confidence 0.99
    """
    params = load(paths.PARAMS, overrides)
    images = load_images(params.data)
    inputs = load_inputs(params, images, paths.RUNS)
    with tempfile.TemporaryDirectory() if scratch else contextlib.nullcontext(paths.RESULTS) as folder:
        record = EvaluateRecord(params, Path(folder), paths.RUNS)
        # Until the record is whole: it is made from the files.
        with (
            exclusive(record.folder, WAIT, f"{record.folder}: another process writes it"),
            stage_run(record.stage) as run,
        ):
            record.begin(run)
            start = time.perf_counter()
            with write_folder(record.folder) as part:
                compare_variants(params, inputs, part)
            seconds = time.perf_counter() - start
            record.finish(run, images, seconds)
