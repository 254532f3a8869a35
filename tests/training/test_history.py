"""The files of one training: what is written comes back, byte for byte the same each time."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.training.csv_files import MOMENTS
from pipeline.training.history import HISTORY_FILES, load_history, load_weights, save_history
from pipeline.training.loop import Trained

SEEDS = (3, 5, 11)
EPOCHS, ITERATIONS = 2, 8
TENSORS = ["layer1.pre_activation", "layer1.activation", "layer1.normalised"]


def trained(seeds: int = len(SEEDS)) -> Trained:
    """Made-up results; the normalised tensor has no saturation."""
    generator = torch.Generator().manual_seed(0)
    shape = (seeds, EPOCHS + 1)
    measured = {
        "loss": torch.rand(shape, generator=generator),
        "accuracy": torch.rand(shape, generator=generator, dtype=torch.float64),
    }
    for tensor in TENSORS:
        measured[f"{tensor}.counts"] = torch.randint(1000, (*shape, 100), generator=generator)
        for what in MOMENTS[: 2 if tensor.endswith("normalised") else 3]:
            measured[f"{tensor}.{what}"] = torch.randn(shape, generator=generator, dtype=torch.float64)
    weights = {
        "linears.0.weight": torch.randn(seeds, 4, 5, generator=generator),
        "norms.0.running_var": torch.rand(seeds, 5, generator=generator).to(torch.float32),
    }
    return Trained(weights, torch.rand(seeds, ITERATIONS, generator=generator), measured, {})


def table(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


def error(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_history(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(f"{folder}: not a complete training (")
    assert str(caught.value).endswith("; run `dvc repro`")
    return str(caught.value)


def test_a_training_is_read_back_as_written(tmp_path: Path) -> None:
    results = trained()
    save_history(tmp_path, SEEDS, results)
    history = load_history(tmp_path)
    assert history.seeds == SEEDS
    assert history.epochs == EPOCHS
    assert history.diverged() == 0
    np.testing.assert_allclose(history.train_loss, results.loss.numpy(), rtol=1e-8)
    np.testing.assert_allclose(history.validation_loss, results.measured["loss"].numpy(), rtol=1e-8)
    np.testing.assert_allclose(history.validation_accuracy, results.measured["accuracy"].numpy(), rtol=1e-8)
    assert history.histograms.keys() == set(TENSORS)
    for tensor, counts in history.histograms.items():
        np.testing.assert_array_equal(counts, results.measured[f"{tensor}.counts"].numpy())
    moments = {name for name in results.measured if name.endswith(("mean", "std", "saturated"))}
    assert history.moments.keys() == moments
    assert "layer1.normalised.saturated" not in moments
    for name in moments:
        np.testing.assert_allclose(history.moments[name], results.measured[name].numpy(), rtol=1e-8)


def test_weights_are_read_back_bit_for_bit(tmp_path: Path) -> None:
    results = trained()
    sliced = replace(results, weights=results.weights | {"turned": torch.rand(3, 4, 5).transpose(1, 2)})
    save_history(tmp_path, SEEDS, sliced)
    stored = load_weights(tmp_path)
    assert stored.keys() == sliced.weights.keys()
    for name, weights in stored.items():
        np.testing.assert_array_equal(np.asarray(weights), sliced.weights[name].numpy())


def test_float32_losses_lose_nothing(tmp_path: Path) -> None:
    results = trained()
    save_history(tmp_path, SEEDS, results)
    np.testing.assert_array_equal(load_history(tmp_path).train_loss.astype(np.float32), results.loss.numpy())


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b", "b"):
        save_history(tmp_path / folder, SEEDS, trained())
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted({*HISTORY_FILES} - {"settings.json"})
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "step", "first", "rows"),
    [
        ("train_loss.csv", "iteration", 1, ITERATIONS),
        ("validation_loss.csv", "epoch", 0, EPOCHS + 1),
        ("validation_accuracy.csv", "epoch", 0, EPOCHS + 1),
    ],
)
def test_a_curve_has_its_steps_the_mean_and_a_column_per_seed(
    tmp_path: Path, name: str, step: str, first: int, rows: int
) -> None:
    save_history(tmp_path, SEEDS, trained())
    header, lines = table(tmp_path / name)
    assert header == [step, "mean", "seed_3", "seed_5", "seed_11"]
    assert [line[0] for line in lines] == [str(first + at) for at in range(rows)]
    for _, mean, *values in lines:
        assert float(mean) == pytest.approx(sum(map(float, values)) / 3, rel=1e-8)


def test_moments_have_a_row_per_epoch_seed_and_tensor(tmp_path: Path) -> None:
    results = trained()
    save_history(tmp_path, SEEDS, results)
    header, rows = table(tmp_path / "moments.csv")
    assert header == ["epoch", "seed", "layer", "tensor", "mean", "std", "saturated"]
    expected = [[str(e), str(s), *t.split(".")] for e in range(EPOCHS + 1) for s in SEEDS for t in TENSORS]
    assert [row[:4] for row in rows] == expected
    assert {row[6] == "" for row in rows if row[3] == "normalised"} == {True}
    row = next(row for row in rows if row[:4] == ["1", "5", "layer1", "activation"])
    for what, text in zip(MOMENTS, row[4:], strict=True):
        assert float(text) == pytest.approx(results.measured[f"layer1.activation.{what}"][1, 1].item(), rel=1e-8)


def test_metrics_are_the_final_values_over_seeds(tmp_path: Path) -> None:
    results = trained()
    save_history(tmp_path, SEEDS, results)
    final = json.loads((tmp_path / "metrics.json").read_text())
    assert (final["seeds"], final["diverged"]) == (3, 0)
    for values, summary in (
        (results.loss[:, -1], final["train"]["loss"]),
        (results.measured["loss"][:, -1], final["validation"]["loss"]),
        (results.measured["accuracy"][:, -1], final["validation"]["accuracy"]),
    ):
        a, b, c = values.tolist()
        mean = (a + b + c) / 3
        deviation = (((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2) / 2) ** 0.5
        expected = {"mean": mean, "std": deviation, "min": min(a, b, c), "max": max(a, b, c)}
        assert summary == pytest.approx(expected, rel=1e-6)


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    save_history(tmp_path, [4], trained(seeds=1))
    assert json.loads((tmp_path / "metrics.json").read_text())["train"]["loss"]["std"] == 0
    history = load_history(tmp_path)
    assert history.seeds == (4,)
    assert history.train_loss.shape == (1, ITERATIONS)
    assert history.moments["layer1.activation.mean"].shape == (1, EPOCHS + 1)


def test_trainings_that_diverged_are_counted_and_survive(tmp_path: Path) -> None:
    results = trained()
    results.loss[0, 2:] = torch.nan
    results.loss[2, 3] = torch.nan
    results.measured["loss"][0, 1:] = torch.nan
    results.measured["layer1.activation.mean"][0, 1:] = torch.nan
    save_history(tmp_path, SEEDS, results)
    history = load_history(tmp_path)
    assert history.diverged() == 2
    np.testing.assert_array_equal(np.isnan(history.train_loss), results.loss.isnan().numpy())
    np.testing.assert_array_equal(np.isnan(history.validation_loss), results.measured["loss"].isnan().numpy())
    np.testing.assert_array_equal(history.moments["layer1.activation.mean"][0, 1:], [np.nan, np.nan])
    assert np.isfinite(history.moments["layer1.activation.mean"][1:]).all()
    assert json.loads((tmp_path / "metrics.json").read_text())["diverged"] == 2


def test_an_infinite_loss_counts_as_diverged_and_survives(tmp_path: Path) -> None:
    results = trained()
    results.loss[1, 3] = torch.inf
    save_history(tmp_path, SEEDS, results)
    history = load_history(tmp_path)
    assert history.diverged() == 1
    assert history.train_loss[1, 3] == np.inf


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_metrics_of_a_training_that_diverged_are_json(tmp_path: Path, value: float) -> None:
    results = trained()
    results.loss[1, -1] = value
    save_history(tmp_path, SEEDS, results)
    text = (tmp_path / "metrics.json").read_text()
    final = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert final["diverged"] == 1
    assert final["train"]["loss"]["mean"] is None
    assert final["train"]["loss"]["std"] is None
    assert None not in final["validation"]["loss"].values()


@pytest.mark.parametrize(
    "name", [name for name in HISTORY_FILES if name not in ("weights.safetensors", "metrics.json", "settings.json")]
)
def test_a_missing_file_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    save_history(tmp_path, SEEDS, trained())
    (tmp_path / name).unlink()
    assert "No such file" in error(tmp_path)


def test_a_missing_folder_is_told_in_one_line(tmp_path: Path) -> None:
    assert "No such file" in error(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("train_loss.csv", 0),
        ("train_loss.csv", -18),
        ("validation_loss.csv", 0),
        ("validation_loss.csv", -18),
        ("moments.csv", 100),
        ("histograms.safetensors", 0),
        ("histograms.safetensors", 7),
        ("histograms.safetensors", 500),
        ("histograms.safetensors", -1),
    ],
)
def test_a_truncated_file_is_told_in_one_line(tmp_path: Path, name: str, keep: int) -> None:
    save_history(tmp_path, SEEDS, trained())
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:keep])
    error(tmp_path)


@pytest.mark.parametrize("name", ["train_loss.csv", "validation_loss.csv", "validation_accuracy.csv", "moments.csv"])
@pytest.mark.parametrize("lines", [1, 2, -1])
def test_missing_rows_are_told_in_one_line(tmp_path: Path, name: str, lines: int) -> None:
    save_history(tmp_path, SEEDS, trained())
    path = tmp_path / name
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))
    error(tmp_path)


@pytest.mark.parametrize(
    "content", [b"x" * 200_000, b"\xff\xfe", b"iteration,mean,seed_x\n1,2,3\n", b"iteration,mean,seed_0\n1,2,a\n"]
)
def test_a_file_of_something_else_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    save_history(tmp_path, SEEDS, trained())
    (tmp_path / "train_loss.csv").write_bytes(content)
    error(tmp_path)


@pytest.mark.parametrize("keep", [None, 0, 20, -1])
def test_weights_that_cannot_be_read_are_told_in_one_line(tmp_path: Path, keep: int | None) -> None:
    save_history(tmp_path, SEEDS, trained())
    path = tmp_path / "weights.safetensors"
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[:keep])
    with pytest.raises(UserError) as caught:
        load_weights(tmp_path)
    assert str(caught.value).startswith(f"{path}: cannot be read (")
    assert len(str(caught.value).splitlines()) == 1
