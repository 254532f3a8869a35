"""The command `evaluate`."""

import contextlib
import tempfile
import time
from pathlib import Path

import click

from pipeline import paths
from pipeline.commands.folders import hold
from pipeline.commands.images import load_images
from pipeline.commands.options import OVERRIDES, flag, with_overrides
from pipeline.files import write_folder
from pipeline.params import VARIANTS, load
from pipeline.records.stages import EvaluateRecord
from pipeline.stages.evaluate.stage import compare_variants, load_inputs
from pipeline.tracking.stage import stage_run


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
    trainings = [paths.RUNS / variant for variant in VARIANTS]
    with (
        tempfile.TemporaryDirectory() if scratch else contextlib.nullcontext(paths.RESULTS) as folder,
        hold(*trainings, Path(folder)),
    ):
        inputs = load_inputs(params, images, paths.RUNS)
        record = EvaluateRecord(params, Path(folder), paths.RUNS)
        with stage_run(record.stage) as run:
            record.begin(run)
            start = time.perf_counter()
            with write_folder(record.folder) as part:
                compare_variants(params, inputs, part)
            seconds = time.perf_counter() - start
            record.finish(run, images, seconds)
