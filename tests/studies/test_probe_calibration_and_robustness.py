"""Calibration and robustness, against the same quantities computed another way."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.data.dataset import Examples, Split
from pipeline.network.perceptron import Perceptron
from pipeline.params import VARIANTS, Params, Variant
from studies.calibration_and_robustness import probe as calibration
from tests.samples import population
from tests.studies.networks import SETTINGS, trained

Make = Callable[..., Params]
Images = Callable[..., Examples]


def drawn(scale: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits [2, 400, 10] whose members answer rightly half of the time, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(10, size=400)
    logits = random.normal(size=(2, 400, 10))
    logits[:, np.arange(400), labels] += 1.3
    return torch.tensor(scale * logits, dtype=torch.float32), torch.tensor(labels)


@pytest.mark.parametrize("scale", [0.3, 1, 4])
def test_the_temperature_is_the_likeliest(scale: float) -> None:
    logits, labels = drawn(scale)
    chosen = calibration.temperature(logits, labels)
    for member in range(2):
        values = logits[member].double().numpy()

        def loss(logarithm: float, values: NDArray[np.float64] = values) -> float:
            return -float(log_softmax(values / 10**logarithm, axis=1)[np.arange(400), labels.numpy()].mean())

        exact = 10 ** minimize_scalar(loss, bounds=(-1, 1), method="bounded").x
        assert float(chosen[member]) == pytest.approx(exact, rel=0.012)  # half of the distance of two temperatures


@pytest.mark.parametrize("scale", [0.3, 1, 4])
def test_the_calibration_error_is_that_of_fifteen_bins(scale: float) -> None:
    logits, labels = drawn(scale)
    measured = calibration.calibration_error(logits, labels)
    for member in range(2):
        shares = softmax(logits[member].double().numpy(), axis=1)
        confidence, right = shares.max(1), shares.argmax(1) == labels.numpy()
        expected = 0.0
        for at in range(15):
            inside = (confidence > at / 15) & (confidence <= (at + 1) / 15)
            if inside.any():
                expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
        assert float(measured[member]) == pytest.approx(expected)


def test_a_network_that_is_sure_and_wrong_has_the_greatest_calibration_error() -> None:
    logits = torch.tensor([[[100.0, 0], [100, 0]], [[100, 0], [0, 100]]])
    assert calibration.calibration_error(logits, torch.tensor([1, 1])).tolist() == [1, 0.5]


def gradient(network: Perceptron, member: int, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of one member's loss by the images [images, 784], on a copy."""
    shown = images.clone().requires_grad_()
    with torch.enable_grad():
        loss = cross_entropy(copy.deepcopy(network)(shown)[member], labels)
    return torch.autograd.grad(loss, shown)[0]


@pytest.mark.parametrize("by_batch", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_attacks_follow_the_gradient_of_the_network_as_it_is_met(
    params: Make, split: Split, variant: Variant, *, by_batch: bool
) -> None:
    network = trained(population(params(**SETTINGS), variant), split).double().train(by_batch)
    seen = Examples(split.test.images.double(), split.test.labels)
    with torch.no_grad():
        one_step, ten_steps = calibration.fgsm(network, seen), calibration.pgd(network, seen)
    random = torch.rand(seen.images.shape, generator=torch.Generator().manual_seed(0)).double()
    for member in range(2):
        sign = gradient(network, member, seen.images, seen.labels).sign()
        torch.testing.assert_close(one_step[member], (seen.images + 0.1 * sign).clamp(0, 1))
        attacked = (seen.images + 0.1 * (2 * random - 1)).clamp(0, 1)
        for _ in range(10):
            attacked = attacked + 0.025 * gradient(network, member, attacked, seen.labels).sign()
            attacked = torch.minimum(torch.maximum(attacked, seen.images - 0.1), seen.images + 0.1).clamp(0, 1)
        torch.testing.assert_close(ten_steps[member], attacked)
        assert float((ten_steps[member] - seen.images).abs().max()) <= 0.1 + 1e-9


def test_an_attack_sees_through_a_certain_answer(params: Make, split: Split) -> None:
    network = trained(population(params(**SETTINGS), "plain"), split)
    with torch.no_grad():
        logits = network(split.test.images)[0]
        best, second = logits.topk(2, dim=1).values.T
        for parameter in network.linears[-1].parameters():
            parameter.mul_(25 / (best - second).median())
        labels = logits.argmax(1)
        certain = torch.softmax(network(split.test.images)[0], 1).amax(1) == 1
        moved = calibration.fgsm(network, Examples(split.test.images, labels))[0] - split.test.images
    assert int(certain.sum()) > 10
    expected = gradient(copy.deepcopy(network).double(), 0, split.test.images.double(), labels)
    inner = (split.test.images > 0.1) & (split.test.images < 0.9)
    same = (moved.sign() == expected.sign())[certain][inner[certain]]
    assert float(same.double().mean()) > 0.99


def test_images_are_changed_as_said(split: Split) -> None:
    images = split.test.images[:5]
    views = calibration._views(images)
    assert list(views) == ["clean", "noise", "moved", "contrast"]
    assert torch.equal(views["clean"], images)
    assert torch.equal(views["contrast"], images / 2)
    for at in range(5):
        moved = np.zeros((28, 28), np.float32)
        moved[2:, 2:] = images[at].view(28, 28).numpy()[:26, :26]
        assert views["moved"][at].tolist() == moved.flatten().tolist()
    noise = views["noise"] - images
    assert float(views["noise"].min()) >= 0
    assert float(views["noise"].max()) <= 1
    inner = noise[(views["noise"] > 0) & (views["noise"] < 1)]
    assert 0.1 < float(inner.std()) < 0.3  # cut at both ends
    assert torch.equal(views["noise"], calibration._views(images)["noise"])


@pytest.mark.parametrize("position", ["after_activation", "before_activation"])
def test_measurements_are_by_the_statistics_that_they_name(params: Make, split: Split, position: str) -> None:
    described = population(params(**SETTINGS, norm_position=position), "batchnorm")
    network = trained(described, split)
    with torch.no_grad():
        measured = calibration.probe(described, split)(network)
        recomputed = calibration.statistics(network, split.train.images)
        entering: dict[str, Tensor] = {}
        copy.deepcopy(network).train()(split.train.images, entering.__setitem__)
        other = copy.deepcopy(network)
        for buffer, values in zip(other.norms.buffers(), recomputed, strict=True):
            buffer.copy_(values)
        name = "activation" if position == "after_activation" else "pre_activation"
        for layer in range(2):
            values = entering[f"layer{layer + 1}.{name}"]
            torch.testing.assert_close(recomputed[2 * layer], values.mean(1))
            torch.testing.assert_close(recomputed[2 * layer + 1], values.var(1))
        for kind, seen in (("running", network), ("recomputed", other), ("batch", copy.deepcopy(network).train())):
            batches = torch.split(split.test.images, 16)
            logits = torch.cat([copy.deepcopy(seen)(batch) for batch in batches], dim=1)
            right = logits.argmax(2) == split.test.labels
            assert torch.equal(measured[f"{kind}_accuracy"], right.double().mean(1))
            losses = [cross_entropy(logits[member], split.test.labels) for member in range(2)]
            torch.testing.assert_close(measured[f"{kind}_nll"], torch.stack(losses))
            clean = copy.deepcopy(seen)(split.test.images[:16]).argmax(2) == split.test.labels[:16]
            assert torch.equal(measured[f"{kind}_clean"], clean.double().mean(1))
            attacked = calibration.pgd(copy.deepcopy(seen), Examples(split.test.images[:16], split.test.labels[:16]))
            hit = copy.deepcopy(seen)(attacked).argmax(2) == split.test.labels[:16]
            assert torch.equal(measured[f"{kind}_pgd"], hit.double().mean(1))
            scaled = logits / measured[f"{kind}_temperature"][:, None, None]
            torch.testing.assert_close(
                measured[f"{kind}_scaled_ece"], calibration.calibration_error(scaled, split.test.labels)
            )


def test_a_plain_network_is_the_same_by_all_statistics(params: Make, split: Split) -> None:
    described = population(params(**SETTINGS), "plain")
    with torch.no_grad():
        measured = calibration.probe(described, split)(described.network().eval())
    assert len(measured) == 3 * 12
    for name, values in measured.items():
        assert torch.equal(values, measured[f"running_{name.partition('_')[2]}"])
