"""The numbers and reports that the benchmarks derive from their measurements."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner

from benchmarks import gpu, peers, report, rounds, scale_report, whole
from benchmarks.cli import main
from benchmarks.scale_report import Measured, project_sweep
from pipeline.data.dataset import Examples
from pipeline.params import VARIANTS, Params, Variant, load
from pipeline.training.loop import fit
from tests.samples import PARAMS, population

# Two workers of 5 model-epochs per second each: a population takes 10 seconds.
MEASURED = Measured(alone=6, rates={1: 6, 2: 10}, epochs=50, size=250_000_000, put=1, fetch=1, log=0.1)


def test_a_population_takes_as_long_as_where_all_workers_are_busy() -> None:
    assert MEASURED.seconds() == 10


def test_ten_nodes_wait_for_training() -> None:
    parts, rate = project_sweep(MEASURED, 10)
    assert parts["training"] == pytest.approx(10_100 / 20 * 10)
    assert parts["stragglers"] == pytest.approx(0)
    assert parts["broadcast"] == pytest.approx(2)  # 2.5 GB at 1.25 GB/s
    assert parts["logging"] == pytest.approx(1010)
    assert rate == pytest.approx(10_100 * 50 / (2 + 5050))


def test_a_thousand_nodes_wait_for_the_log() -> None:
    parts, rate = project_sweep(MEASURED, 1000)
    assert parts["training"] + parts["stragglers"] == pytest.approx(60)  # 5.05 waves are 6
    assert parts["broadcast"] == pytest.approx(200)
    assert rate == pytest.approx(10_100 * 50 / (200 + 1010))


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


def test_a_benchmark_has_medians_with_their_range_and_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "cores", lambda: 2)
    plain = {"lab": [3.0] * 3, "jax": [0.1, 0.3, 0.2], "one": [0.2] * 3, "all": [0.1] * 3, "products": [0.1] * 3}
    measured = {
        "batches of 2000, plain": plain,
        "batches of 60, batchnorm": {"all": [0.25], "busy": [0.5]},
        report.SWEEPS: {"sweep_1": [0.2], "sweep": [0.125], "shift": [0.25]},
        report.WHOLE: {"training": [10.0], "repro": [19.0], "help": [0.25, 0.35, 0.25]},
    }
    lines = report.markdown("A machine", measured, {"train plain": 1_600_000_000}).splitlines()
    for row in (
        "| batches of 2000, plain: JAX / all workers | at least 1.30 | 2.00 (1.00 to 3.00) | met |",
        "| batches of 2000, plain: one worker / bare products | at most 1.60 | 2.00 | not met |",
        "| batches of 60, batchnorm: a core busy / idle | at most 2.20 | 2.00 | met |",
        "| `dvc repro --force` / one training of the lab | at most 2.00 | 1.90 | met |",
        "| `python -m pipeline --help`: seconds | at most 0.30 | 0.25 (0.25 to 0.35) | met |",
        "| a sweep: all workers / one, model-epochs per second | at least 1.85 | 1.60 | not met |",
        "| batches of 2000, plain | 3.000 | – | – | 0.200 (0.100 to 0.300) | 0.200 | 0.100 | – | 0.100 | – |",
        "| train plain | 1.60 | not met |",
    ):
        assert row in lines
    assert not any("unchanged" in line or "not installed" in line for line in lines)


def test_without_jax_a_benchmark_says_how_to_install_it() -> None:
    lines = report.markdown("A machine", {"batches of 2000, plain": {"all": [0.25]}}, {}).splitlines()
    assert lines[-1] == "JAX is not installed here: `uv pip install -r requirements-bench.txt`."


@pytest.mark.parametrize("variant", VARIANTS)
def test_jax_trains_as_this_project_does(variant: Variant, params: Callable[..., Params]) -> None:
    jnp = pytest.importorskip("jax.numpy")
    from benchmarks import jax_peer

    settings = params(seeds="3,5", epochs="3", batch_size="50", lr="0.01")
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (1000,), generator=random)
    bright = torch.arange(784) // 78 == labels[:, None]  # a band of pixels tells the class
    examples = Examples(torch.rand(1000, 784, generator=random) / 2 + bright / 2, labels)
    arrays = [jnp.asarray(values.numpy()) for values in (examples.images, examples.labels)]
    losses = np.concatenate(list(jax_peer.train(population(settings, variant), *arrays)), axis=1)
    trained = fit(population(settings, variant), examples)
    np.testing.assert_allclose(losses, trained.loss.numpy(), rtol=1e-3, atol=1e-4)
    assert losses[:, -20:].max() < 0.2 < losses[:, 0].min()


def test_the_lean_loop_sees_every_image_once(examples: Callable[..., Examples]) -> None:
    images = examples(50)
    seen = [batch for batch, _ in peers.resident(images, 20)]
    assert [len(batch) for batch in seen] == [20, 20, 10]
    assert torch.equal(torch.cat(seen).sum(1).sort().values, images.images.sum(1).sort().values)


def test_measurements_take_turns_and_a_busy_process_ends_with_its_own() -> None:
    def children() -> float:
        return len(psutil.Process().children())

    before = children()
    measures = {"idle": children, "busy": rounds.busy(children)}
    lines: list[str] = []
    seconds = rounds.take_turns("turns", measures, 2, lines.append)
    assert seconds == {"idle": [before] * 2, "busy": [before + 1] * 2}
    assert [line.split(", ")[2].split(":")[0] for line in lines] == ["idle", "busy"] * 2


def test_memory_is_of_all_processes_of_a_stage(tmp_path: Path) -> None:
    hold = "import time; held = bytes(range(256)) * 400_000; "
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold + 'time.sleep(2)'!r}], check=True)"
    alone, both = (whole.peak_memory(["python", "-c", hold + end], tmp_path) for end in ("time.sleep(2)", child))
    assert 100e6 < alone < 150e6
    assert both > 200e6


def test_operations_of_an_epoch_of_the_labs_network() -> None:
    # Per image: 784·100 + 100·100 + 100·10 products forward, as many for the weights, 11,000 for the hidden layers.
    assert gpu.operations(load(PARAMS), 60_000) == 2 * 60_000 * (89_400 + 89_400 + 11_000)


def test_speeds_and_seconds_are_positive() -> None:
    assert gpu.speed(torch.device("cpu"), size=64) > 0
    params = load(PARAMS, {"hidden": "5", "seeds": "0,1", "batch_size": "10"})
    examples = Examples(torch.rand(30, 784), torch.zeros(30, dtype=torch.int64))
    assert gpu.epoch_seconds(population(params, "batchnorm"), examples) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_its_benchmark_is_one_line() -> None:
    result = CliRunner().invoke(main, ["gpu"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: PyTorch finds no CUDA device here, so there is nothing to measure\n"
