"""What the benchmarks compute from what they measure."""

import pytest
import torch
from click.testing import CliRunner

from benchmarks import gpu, scale
from benchmarks.cli import main
from benchmarks.scale import Measured
from pipeline.data.dataset import Examples
from pipeline.params import load
from pipeline.training.population import Population
from tests.samples import PARAMS

# Two workers of 5 model-epochs per second each: a population takes 10 seconds.
MEASURED = Measured(alone=6, rates={1: 6, 2: 10}, epochs=50, size=250_000_000, put=1, fetch=1, log=0.1)


def test_a_population_takes_as_long_as_where_all_workers_are_busy() -> None:
    assert MEASURED.seconds() == 10


def test_ten_nodes_wait_for_training() -> None:
    found = scale.projected(MEASURED, 10)
    assert found.training == pytest.approx(10_100 / 20 * 10)
    assert found.waiting == pytest.approx(0)
    assert found.broadcast == pytest.approx(2)  # 2.5 GB at 1.25 GB/s
    assert found.logging == pytest.approx(1010)
    assert found.rate == pytest.approx(10_100 * 50 / (2 + 5050))
    assert found.bottleneck() == "training"


def test_a_thousand_nodes_wait_for_the_log() -> None:
    found = scale.projected(MEASURED, 1000)
    assert found.training + found.waiting == pytest.approx(60)  # 5.05 waves are 6
    assert found.broadcast == pytest.approx(200)
    assert found.rate == pytest.approx(10_100 * 50 / (200 + 1010))
    assert found.bottleneck() == "logging"


def test_the_report_says_what_was_measured_and_what_follows() -> None:
    text = scale.markdown("A machine", MEASURED)
    for row in (
        "| 2 workers | 10.0 | 0.83 |",
        "| data | 250 MB |",
        "| 10 | 20 | 2 | 5050 | 0 | 1010 | 100 | training |",
        "| 1000 | 2000 | 200 | 50 | 10 | 1010 | 417 | logging |",
    ):
        assert row in text
    assert "10,100 populations" in text
    assert "1.25 GB/s" in text


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
