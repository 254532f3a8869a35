"""The command line of the benchmark."""

from typing import Any

import click

from benchmarks import machine, report, rounds, scale_report, whole
from benchmarks.settings import LARGE_BATCH, REPORT, ROUNDS, SCALE_REPORT, SMALL_BATCH, check_images
from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.params import VARIANTS


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
    help="Measurements of each kind of epoch; of whole projects and sweeps there are two thirds.",
)
@click.option("--quick", is_flag=True, help="One round at the lab's batch size alone; prints, and writes no file.")
def main(ctx: click.Context, count: int, quick: bool) -> None:
    """Measure this project's speed and memory beside its peers', on the processor and on the real images.

    Prints a report in Markdown and writes it to results/benchmark.md. Takes params.yaml as it stands; the bars
    are meant for its defaults and an otherwise idle machine.
    """
    if ctx.invoked_subcommand:
        return
    check_images()
    measured = {
        report.row_of(batch, variant): rounds.compare(variant, batch, 1 if quick else count, _progress)
        for batch in ((LARGE_BATCH,) if quick else (LARGE_BATCH, SMALL_BATCH))
        for variant in VARIANTS
    }
    memory: dict[str, int] = {}
    if not quick:
        few = -(-2 * count // 3)
        measured[report.SWEEPS] = rounds.sweeps(few, _progress)
        with whole.copy() as folder:
            for stage in whole.STAGES:  # which also creates the MLflow store, before anything is timed
                memory[stage] = whole.peak_memory(["python", "-m", "pipeline", *stage.split()], folder)
                _progress(f"{stage}: {memory[stage] / 1e9:.2f} GB")
            measured[report.WHOLE] = whole.commands(folder, few, _progress)
    text = report.markdown(machine.describe(), measured, memory)
    if not quick:
        write_atomic(REPORT, text)
    click.echo(text, nl=False)


@main.command()
def scale() -> None:
    """Measure sweeps with 1, 2, 4 … workers on Ray, and compute those on more nodes, into results/scale.md."""
    from benchmarks.scale import measure_scale  # imports Ray

    text = scale_report.markdown(machine.describe(), measure_scale(_progress))
    write_atomic(SCALE_REPORT, text)
    click.echo(text, nl=False)


@main.command()
def gpu() -> None:
    """Measure model-epochs per second on CUDA against members, 1 to 4096; prints a table in Markdown."""
    from benchmarks.gpu import measure_gpu  # imports PyTorch

    click.echo(measure_gpu(_progress), nl=False)


def _progress(line: str) -> None:
    click.echo(line, err=True)
