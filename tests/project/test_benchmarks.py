"""The numbers and reports that the benchmarks derive from their measurements."""

import pytest
import torch
from click.testing import CliRunner

from benchmarks import gpu, report, scale_report
from benchmarks.cli import main
from benchmarks.projection import Measured, project_sweep
from benchmarks.rounds import Comparison
from pipeline.data.dataset import Examples
from pipeline.params import load
from pipeline.training.population import Population
from tests.samples import PARAMS

# Two workers of 5 model-epochs per second each: a population takes 10 seconds.
MEASURED = Measured(alone=6, rates={1: 6, 2: 10}, epochs=50, size=250_000_000, put=1, fetch=1, log=0.1)


def test_a_population_takes_as_long_as_where_all_workers_are_busy() -> None:
    assert MEASURED.seconds() == 10


def test_ten_nodes_wait_for_training() -> None:
    projection = project_sweep(MEASURED, 10)
    assert projection.training == pytest.approx(10_100 / 20 * 10)
    assert projection.waiting == pytest.approx(0)
    assert projection.broadcast == pytest.approx(2)  # 2.5 GB at 1.25 GB/s
    assert projection.logging == pytest.approx(1010)
    assert projection.rate == pytest.approx(10_100 * 50 / (2 + 5050))
    assert projection.bottleneck() == "training"


def test_a_thousand_nodes_wait_for_the_log() -> None:
    projection = project_sweep(MEASURED, 1000)
    assert projection.training + projection.waiting == pytest.approx(60)  # 5.05 waves are 6
    assert projection.broadcast == pytest.approx(200)
    assert projection.rate == pytest.approx(10_100 * 50 / (200 + 1010))
    assert projection.bottleneck() == "logging"


def test_the_report_says_what_was_measured_and_what_follows() -> None:
    text = scale_report.markdown("A machine", MEASURED)
    for row in (
        "| 2 workers | 10.0 | 0.83 |",
        "| data | 250 MB |",
        "| 10 | 20 | 2 | 5050 | 0 | 1010 | 100 | training |",
        "| 1000 | 2000 | 200 | 50 | 10 | 1010 | 417 | logging |",
    ):
        assert row in text
    assert "10,100 populations" in text
    assert "1.25 GB/s" in text


def test_a_benchmark_has_medians_with_their_range_and_the_bars() -> None:
    comparisons = [
        Comparison("plain", 2000, [4.0, 2.0, 3.0], [0.1, 0.1, 0.1], [0.05, 0.1, 0.1]),
        Comparison("batchnorm", 60, [3.0], [0.25], [0.125]),
    ]
    whole = report.Whole("plain", 10, 5, 20.0, 19.96, {"train plain": 1_600_000_000}, 300.0, 10**9, 0.25)
    lines = report.markdown("A machine", comparisons, whole).splitlines()
    for row in (
        "Rounds: 3 at batch 2000, plain; 1 at batch 60, batchnorm.",
        "| batch | variant | (a) the lab | (b) this project | (c) products alone | a / b | b / c |",
        "| 2000 | plain | 3.000 (2.000 to 4.000) | 0.100 | 0.100 (0.050 to 0.100) | 30.0 (20.0 to 40.0) | "
        "1.00 (1.00 to 2.00) |",
        "| 60 | batchnorm | 3.000 | 0.250 | 0.125 | 12.0 | 2.00 |",
        "| batch | variant | bar | measured |  |",
        "| 2000 | plain | the lab: a / b at least 20 | 30.0 | met |",
        "| 60 | batchnorm | a grid: b / c at most 3 | 2.00 | met |",
        "| `dvc repro --force`: 2 variants, 10 seeds each, every stage | 20.0 |",
        "| logging one point of 10 seeds | 0.25 s | at most 0.5 s | met |",
        "| train plain | 1.60 | not met |",
    ):
        assert row in lines
    assert (
        report.markdown("A machine", comparisons, None).splitlines() == lines[: lines.index("## The whole project") - 1]
    )


def test_operations_and_bytes_of_an_epoch_of_the_labs_network() -> None:
    params = load(PARAMS)
    # Per image: 784·100 + 100·100 + 100·10 products forward, as many for the weights, 11,000 for the hidden layers.
    assert gpu.operations(params, 60_000) == 2 * 60_000 * (89_400 + 89_400 + 11_000)
    assert gpu.traffic(params, 60_000) == 4 * (60_000 * (4 * 784 + 6 * 210) + 10 * 89_610 * 30)


def test_speeds_and_seconds_are_positive() -> None:
    best = gpu.speed(torch.device("cpu"), size=64)
    assert min(best.operations, best.bytes) > 0
    params = load(PARAMS, {"hidden": "5", "seeds": "0,1", "batch_size": "10"})
    examples = Examples(torch.rand(30, 784), torch.zeros(30, dtype=torch.int64))
    population = Population("batchnorm", params.model, params.train, params.train.seeds)
    assert gpu.epoch_seconds(population, examples) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_its_benchmark_is_one_line() -> None:
    result = CliRunner().invoke(main, ["gpu"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: PyTorch finds no CUDA device here, so there is nothing to measure\n"
