"""The command line of the benchmark."""

import statistics
from typing import Any

import click

from benchmarks import machine, report, rounds, scale_report, whole
from benchmarks.settings import LARGE_BATCH, REPORT, ROUNDS, SCALE_REPORT, SMALL_BATCH, STUDY, check_images
from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.params import VARIANTS, load
from pipeline.paths import PARAMS


class _Failure(click.ClickException):
    exit_code = 2


class _Benchmarks(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise _Failure(str(error)) from None


@click.group(cls=_Benchmarks, invoke_without_command=True)
@click.pass_context
@click.option(
    "--rounds",
    "count",
    default=ROUNDS,
    show_default=True,
    type=click.IntRange(min=1),
    help="Measurements of each kind at the lab's batch size; a fifth of them at the small one.",
)
@click.option("--quick", is_flag=True, help="One round at the lab's batch size alone; prints, and writes no file.")
def main(ctx: click.Context, count: int, quick: bool) -> None:
    """Compare this project's speed and memory with the lab's, on the processor and on the real images.

    Prints a report in Markdown and writes it to results/benchmark.md. Takes params.yaml as it stands; the bars
    are meant for its defaults.

    \b
    python -m benchmarks
    python -m benchmarks --quick
    """
    if ctx.invoked_subcommand:
        return
    text = _measure(1 if quick else count, quick)
    if not quick:
        write_atomic(REPORT, text)
    click.echo(text, nl=False)


@main.command()
def scale() -> None:
    """Measure sweeps with 1, 2, 4 … workers on Ray, and compute what more nodes would give.

    Prints a report in Markdown and writes it to results/scale.md.
    """
    from benchmarks.scale import measure_scale  # imports Ray

    text = scale_report.markdown(machine.describe(), measure_scale(_progress))
    write_atomic(SCALE_REPORT, text)
    click.echo(text, nl=False)


@main.command()
def gpu() -> None:
    """Measure model-epochs per second on CUDA against members, 1 to 4096; prints a table in Markdown."""
    from benchmarks.gpu import measure_gpu  # imports PyTorch

    click.echo(measure_gpu(_progress), nl=False)


def _measure(count: int, quick: bool) -> str:
    check_images()
    paths = [] if quick else whole.tracked_files()
    sizes = {LARGE_BATCH: count} if quick else {LARGE_BATCH: count, SMALL_BATCH: max(1, count // 5)}
    comparisons = [
        rounds.compare(variant, batch, repeats, _progress) for batch, repeats in sizes.items() for variant in VARIANTS
    ]
    if quick:
        return report.markdown(machine.describe(), comparisons, None)
    with whole.copy(paths) as folder:
        memory = {}
        for stage in whole.STAGES:  # which also creates the MLflow store, before anything is timed
            name = " ".join(stage)
            memory[name] = whole.peak_memory(folder, stage)
            _progress(f"{name}: {memory[name] / 1e9:.2f} GB")
        repro = whole.repro_seconds(folder)
        _progress(f"dvc repro --force: {repro:.1f} s")
        study_seconds, study_memory = whole.study(folder)
    _progress(f"study {STUDY}: {study_seconds:.0f} s, {study_memory / 1e9:.2f} GB")
    with rounds.worker("logging", VARIANTS[0], LARGE_BATCH) as measure:
        logging = statistics.median(measure() for _ in range(count))
    _progress(f"logging a point: {logging:.2f} s")
    variant = VARIANTS[0]
    with rounds.worker("lab_with_validation", variant, LARGE_BATCH) as measure:
        lab = measure()
    _progress(f"the lab with validation, {variant}: {lab:.1f} s")
    train = load(PARAMS).train
    result = report.Whole(
        variant, len(train.seeds), train.epochs, lab, repro, memory, study_seconds, study_memory, logging
    )
    return report.markdown(machine.describe(), comparisons, result)


def _progress(line: str) -> None:
    click.echo(line, err=True)
