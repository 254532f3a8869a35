"""One population: its outcome against the training loop, its members against solo runs, its file and its digest."""

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.data.dataset import Examples, Split
from pipeline.network.metrics import member_losses
from pipeline.network.network import Network
from pipeline.network.perceptron import Perceptron
from pipeline.params import VARIANTS, Params, Variant
from pipeline.sweeps import outcome
from pipeline.sweeps.outcome import (
    OUTCOME_ARRAYS,
    Outcome,
    load_outcome,
    outcome_digest,
    save_outcome,
    stored_seeds,
)
from pipeline.training import population as training_population
from pipeline.training.loop import fit
from pipeline.training.population import Population
from tests.samples import ROOT, outcome_of, population, probe_of

SETTINGS = {"hidden": "6,5", "seeds": "3,1,8", "epochs": "2", "batch_size": "16", "validation_batch_size": "9"}

Make = Callable[..., Params]
Images = Callable[..., Examples]


@pytest.fixture
def split(examples: Images) -> Split:
    return Split(examples(50), examples(20, seed=1), examples(30, seed=2))


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(2) == labels).double().mean(1)


def close(one: Outcome, other: Outcome, rtol: float, atol: float) -> None:
    for name in OUTCOME_ARRAYS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("position", ["after_activation", "before_activation"])
def test_an_outcome_is_what_training_and_the_final_weights_give(
    params: Make, split: Split, variant: Variant, position: str
) -> None:
    described = population(params(**SETTINGS, norm_position=position), variant)
    outcome = outcome_of(described, split)

    def logits(network: Network) -> dict[str, Tensor]:
        return {"held": network(split.validation.images), "test": network(split.test.images)}

    trained = fit(described, split.train, logits)
    batches = np.array([16, 16, 16, 2])
    loss = trained.loss.double().numpy()
    assert loss.shape == (3, 2 * len(batches))
    np.testing.assert_allclose(outcome.train_loss, np.stack([loss[:, :4].mean(1), loss[:, 4:].mean(1)], 1), rtol=1e-12)
    held, test = trained.measured["held"], trained.measured["test"][:, -1]
    for step in range(3):
        losses = member_losses(held[:, step], split.validation.labels.expand(3, -1))
        np.testing.assert_allclose(outcome.validation_loss[:, step], losses.numpy(), rtol=1e-5)
        expected = accuracy(held[:, step], split.validation.labels)
        np.testing.assert_allclose(outcome.validation_accuracy[:, step], expected.numpy(), rtol=1e-12)
    losses = member_losses(test, split.test.labels.expand(3, -1))
    np.testing.assert_allclose(outcome.test_loss, losses.numpy(), rtol=1e-5)
    np.testing.assert_allclose(outcome.test_accuracy, accuracy(test, split.test.labels).numpy(), rtol=1e-12)
    np.testing.assert_array_equal(outcome.diverged_at, [0, 0, 0])
    np.testing.assert_array_equal(outcome.correct, (test.argmax(2) == split.test.labels).numpy())
    np.testing.assert_array_equal(outcome.correct.mean(axis=1), outcome.test_accuracy)
    assert {getattr(outcome, name).dtype for name in OUTCOME_ARRAYS} == {np.dtype(np.float64), np.dtype(np.bool_)}


def test_running_leaves_gradients_as_they_were_and_is_repeatable(params: Make, split: Split) -> None:
    described = population(params(**SETTINGS), "batchnorm")
    first = outcome_of(described, split)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        close(outcome_of(described, split), first, 0, 0)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("batch_size", ["16", "50"])
def test_a_member_is_what_it_would_be_alone(params: Make, split: Split, variant: Variant, batch_size: str) -> None:
    described = population(params(**SETTINGS | {"batch_size": batch_size}, lr="0.01"), variant)
    together = outcome_of(described, split)
    for at, seed in enumerate(described.seeds):
        alone = outcome_of(replace(described, seeds=(seed,)), split)
        close(together.member(at), alone, 0, 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_member_is_exactly_what_it_would_be_alone_in_double_precision(
    params: Make, split: Split, monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    network = Population.network
    monkeypatch.setattr(Population, "network", lambda self: network(self).double())
    train = Examples(split.train.images.double(), split.train.labels)
    described = population(params(**SETTINGS | {"epochs": "1"}, lr="0.01"), variant)
    together = fit(described, train)
    for at, seed in enumerate(described.seeds):
        alone = fit(replace(described, seeds=(seed,)), train)
        assert alone.loss.dtype == torch.float64
        torch.testing.assert_close(together.loss[at], alone.loss[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("iteration", [1, 6])
def test_a_member_that_diverges_is_marked_and_leaves_the_others_alone(
    params: Make, split: Split, monkeypatch: pytest.MonkeyPatch, variant: Variant, iteration: int
) -> None:
    described = population(params(**SETTINGS), variant)
    healthy = outcome_of(described, split)
    network = Population.network

    def spoilt(self: Population) -> Perceptron:
        made = network(self)
        passes = iter(range(1, 100))

        def spoil(module: torch.nn.Module, _: object) -> None:
            if module.training and next(passes) == iteration:
                with torch.no_grad():
                    made.linears[0].get_parameter("weight")[1] = torch.nan

        made.register_forward_pre_hook(spoil)
        return made

    monkeypatch.setattr(Population, "network", spoilt)
    trained = outcome_of(described, split)
    np.testing.assert_array_equal(trained.diverged_at, [0, iteration, 0])
    np.testing.assert_array_equal(np.isnan(trained.train_loss[1]), [iteration <= 4, True])
    assert np.isnan(trained.test_loss[1])
    for at in (0, 2):
        close(trained.member(at), healthy.member(at), 0, 0)


def test_a_description_survives_pickling(params: Make) -> None:
    described = population(params(**SETTINGS), "batchnorm")
    again = pickle.loads(pickle.dumps(described))
    assert again == described
    assert outcome_digest(again, 10, "i") == outcome_digest(described, 10, "i")


def same(one: Outcome | None, other: Outcome) -> None:
    assert one
    close(one, other, 0, 0)


def test_an_outcome_survives_its_file(params: Make, split: Split, tmp_path: Path) -> None:
    trained = outcome_of(population(params(**SETTINGS), "plain"), split)
    spoilt = replace(trained, test_loss=np.array([np.nan, np.inf, 1 / 3]), train_loss=trained.train_loss.T.copy().T)
    folder = tmp_path / "sweeps" / "one"
    assert stored_seeds(folder) == set()
    save_outcome(folder, (3, 1, 8), spoilt)
    same(load_outcome(folder, (3, 1, 8)), spoilt)
    assert stored_seeds(folder) == {3, 1, 8}
    assert len(list(folder.iterdir())) == 1


def test_members_are_found_in_whatever_files_hold_them(params: Make, split: Split, tmp_path: Path) -> None:
    whole = outcome_of(
        population(params(**SETTINGS | {"seeds": "3,1,8,0"}), "plain"), split, probe_of("loss_landscape", 2)
    )
    parts = {(3, 8): (0, 2), (1,): (1,), (8, 0): (2, 3)}
    for seeds, places in parts.items():
        save_outcome(tmp_path, seeds, Outcome.join([whole.member(at) for at in places]))
    for seeds in ((3, 1, 8, 0), (0, 8), (1, 3)):
        found = load_outcome(tmp_path, seeds)
        same(found, Outcome.join([whole.member((3, 1, 8, 0).index(seed)) for seed in seeds]))
    assert load_outcome(tmp_path, (3, 2)) is None


def test_a_missing_or_damaged_file_is_no_outcome(params: Make, split: Split, tmp_path: Path) -> None:
    seeds = (3, 1, 8)
    assert load_outcome(tmp_path, seeds) is None
    save_outcome(tmp_path, seeds, outcome_of(population(params(**SETTINGS), "plain"), split))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[: len(whole) // 2], b"\xff" * 100, whole[:8] + b"x" * (len(whole) - 8)):
        path.write_bytes(damaged)
        assert (load_outcome(tmp_path, seeds), stored_seeds(tmp_path)) == (None, set())
    path.write_bytes(whole.replace(b"test_loss", b"test_lost"))  # of a version with other fields
    assert (load_outcome(tmp_path, seeds), stored_seeds(tmp_path)) == (None, set())
    path.write_bytes(whole)
    assert load_outcome(tmp_path, seeds) is not None


def test_the_digest_is_of_everything_that_the_outcome_depends_on(params: Make) -> None:
    base = population(params(**SETTINGS), "plain")
    digests = [outcome_digest(base, 0, "images")]
    changes = {
        "hidden": "6,4",
        "activation": "relu",
        "norm_position": "before_activation",
        "groups": "2",
        "ghost_batch": "8",
        "recentre": "false",
        "rescale": "false",
        "affine": "false",
        "weights": "norms",
        "epochs": "3",
        "batch_size": "17",
        "optimizer": "sgd",
        "lr": "0.11",
        "momentum": "0.8",
        "weight_decay": "0.1",
        "initial_deviation": "0.1",
        "binary_input": "true",
        "noise": "true",
        "threads": "2",
        "matmul_precision": "medium",
    }
    for name, text in changes.items():
        digests.append(outcome_digest(population(params(**SETTINGS | {name: text}), "plain"), 0, "images"))
    digests += [
        outcome_digest(replace(base, variant="batchnorm"), 0, "images"),
        outcome_digest(base, 1, "images"),
        outcome_digest(base, 0, "others"),
    ]
    assert len(set(digests)) == len(digests) == 24
    assert all(len(digest) == 64 for digest in digests)


def test_the_digest_is_not_of_seeds_and_workers(params: Make) -> None:
    settings = [SETTINGS, SETTINGS | {"seeds": "1,9"}, SETTINGS | {"workers": "3"}]
    digests = {outcome_digest(population(params(**given), "plain"), 0, "images") for given in settings}
    assert len(digests) == 1


def test_the_digest_is_not_of_how_variants_are_compared(params: Make) -> None:
    one, other = (population(params(**SETTINGS, confidence=text), "plain") for text in ("0.9", "0.95"))
    assert outcome_digest(one, 0, "images") == outcome_digest(other, 0, "images")


def test_the_digest_is_of_the_code_that_computes(params: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described, probe = population(params(**SETTINGS), "plain"), probe_of("loss_landscape", 2)
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    for module in (training_population, outcome):
        copy = tmp_path / Path(str(module.__file__)).relative_to(ROOT)
        monkeypatch.setattr(module, "__file__", str(copy))
    before = outcome_digest(described, 0, "images", probe)
    assert outcome_digest(described, 0, "images", replace(probe, source="# changed")) != before
    for path in sorted((tmp_path / "pipeline").rglob("*.py")):
        whole = path.read_bytes()
        path.write_bytes(whole + b"# changed")
        computes = path.parent.name in ("data", "network", "training") or path.name == "outcome.py"
        assert (outcome_digest(described, 0, "images", probe) != before) is computes, path
        path.write_bytes(whole)
