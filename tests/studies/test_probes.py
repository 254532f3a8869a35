"""What studies measure: against the same quantity computed another way, and without a trace in the training."""

import copy
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.data.dataset import Examples, Split
from pipeline.network.perceptron import Perceptron
from pipeline.params import VARIANTS, Params, Variant
from pipeline.training.loop import fit
from studies.internal_covariate_shift import probe as covariate_shift
from studies.lab_revisited import probe as lab_view
from studies.loss_landscape import probe as landscape
from studies.running_statistics import probe as running_statistics
from tests.samples import population, probe_of
from tests.studies.networks import SETTINGS, logistic, trained

NAMES = [
    "batch_size",
    "budget",
    "calibration_and_robustness",
    "depth",
    "internal_covariate_shift",
    "lab_revisited",
    "loss_landscape",
    "running_statistics",
    "steps_to_accuracy",
]

Make = Callable[..., Params]
Images = Callable[..., Examples]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("settings", [{}, {"noise": "true", "norm_position": "before_activation"}])
def test_a_probe_leaves_no_trace_in_the_training(
    params: Make, split: Split, name: str, variant: Variant, settings: dict[str, str]
) -> None:
    described = population(params(**SETTINGS, **settings), variant)
    probed = fit(described, split.train, probing=probe_of(name, 1).probing(described, split))
    alone = fit(described, split.train)
    assert torch.equal(probed.loss, alone.loss)
    assert all(torch.equal(tensor, alone.weights[key]) for key, tensor in probed.weights.items())
    assert probed.probed
    assert all(tensor.shape[:2] == (2, 9) for tensor in probed.probed.values())
    assert all(bool(tensor.isfinite().all()) for tensor in probed.probed.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("settings", [{}, {"noise": "true", "norm_position": "before_activation"}])
def test_a_member_is_measured_alike_in_any_company(
    params: Make, examples: Images, name: str, variant: Variant, settings: dict[str, str]
) -> None:
    split = Split(examples(600), examples(310, seed=1), examples(300, seed=2))
    both, alone = (
        population(params(**SETTINGS | {"seeds": seeds, "batch_size": "300"}, **settings), variant)
        for seeds in ("3,1", "1")
    )
    together, single = (
        fit(described, split.train, probing=probe_of(name, 1).probing(described, split)).probed
        for described in (both, alone)
    )
    assert all(torch.equal(values[1:], single[measured]) for measured, values in together.items())


# The loss along the gradient


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_landscape_is_that_of_steps_along_the_gradient(params: Make, split: Split, variant: Variant) -> None:
    described = population(params(**SETTINGS), variant)
    network = trained(described, split).double()
    batch = Examples(split.train.images[:16].double(), split.train.labels[:16])
    lengths = [0.1, 0.7, 3.0]
    with torch.no_grad():
        measured = landscape.along_the_gradient(network, batch, lengths)
    for member in range(2):
        losses, distances, slopes = [], [], []
        start, gradient = loss_and_gradient(network, batch, member, 0, None)
        for length in lengths:
            loss, moved = loss_and_gradient(network, batch, member, length, gradient)
            losses.append(loss)
            distances.append(float((moved - gradient).norm()))
            slopes.append(distances[-1] / (length * float(gradient.norm())))
        expected = {
            "loss": start,
            "loss_low": min(losses),
            "loss_high": max(losses),
            "gradient_low": min(distances),
            "gradient_high": max(distances),
            "smoothness": max(slopes),
        }
        assert {name: float(values[member]) for name, values in measured.items()} == pytest.approx(expected, rel=1e-9)


def loss_and_gradient(
    network: Perceptron, batch: Examples, member: int, length: float, along: Tensor | None
) -> tuple[float, Tensor]:
    """Loss and flat gradient of one member in training, `length` down a flat direction, on a copy."""
    moved = copy.deepcopy(network).train()
    if along is not None:
        at = 0
        for weight in moved.parameters():
            count = weight[member].numel()
            weight.data[member] -= length * along[at : at + count].view_as(weight[member])
            at += count
    loss = cross_entropy(moved(batch.images)[member], batch.labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), torch.cat([weight.grad[member].flatten() for weight in moved.parameters()])  # type: ignore[index]


def test_the_landscape_is_of_one_batch_and_of_the_learning_rate(params: Make, split: Split) -> None:
    described = population(params(**SETTINGS), "plain")
    network = trained(described, split)
    with torch.no_grad():
        measured = landscape.probe(described, split)(network)
        batch = Examples(split.train.images[:16], split.train.labels[:16])
        expected = landscape.along_the_gradient(network, batch, [0.025, 0.05, 0.1, 0.2])
    assert all(torch.equal(measured[name], values) for name, values in expected.items())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("position", ["after_activation", "before_activation"])
@pytest.mark.parametrize("noise", ["false", "true"])
def test_moments_are_of_what_training_and_evaluation_feed_to_the_last_sigmoids(
    params: Make, split: Split, variant: Variant, position: str, noise: str
) -> None:
    described = population(params(**SETTINGS, noise=noise, norm_position=position), variant)
    network = trained(described, split)
    with torch.no_grad():
        measured = landscape.probe(described, split)(network)
    for mode, copied in (("training", copy.deepcopy(network).train()), ("evaluation", copy.deepcopy(network))):
        entered: list[Tensor] = []
        copied.function = lambda values, entered=entered: (entered.append(values), values.sigmoid())[1]  # type: ignore[misc]
        with torch.no_grad():
            copied(split.train.images[:16])
        expected = torch.stack([entered[-1].mean(1), entered[-1].std(1)], dim=2)
        torch.testing.assert_close(measured[mode], expected)
    if noise == "true":
        assert not torch.allclose(measured["training"], measured["evaluation"], atol=0.01)


# The statistics of evaluation


def test_recomputed_statistics_are_means_over_batches(params: Make, split: Split) -> None:
    network = trained(population(params(**SETTINGS), "batchnorm"), split).double()
    images = split.train.images.double()
    with torch.no_grad():
        recomputed = running_statistics.statistics(network, [images[:20], images[20:40]])
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for member in range(2):
        means, variances = [], []
        for batch in (images[:20].numpy(), images[20:40].numpy()):
            first = logistic(batch @ state["linears.0.weight"][member].T + state["linears.0.bias"][member])
            normal = (first - first.mean(0)) / np.sqrt(first.var(0) + 1e-5)
            hidden = normal * state["norms.0.scale"][member] + state["norms.0.shift"][member]
            second = logistic(hidden @ state["linears.1.weight"][member].T + state["linears.1.bias"][member])
            means.append((first.mean(0), second.mean(0)))
            variances.append((first.var(0, ddof=1), second.var(0, ddof=1)))
        for layer in range(2):
            mean = np.mean([values[layer] for values in means], axis=0)
            np.testing.assert_allclose(recomputed[2 * layer][member], mean)
            variance = np.mean([values[layer] for values in variances], axis=0)
            np.testing.assert_allclose(recomputed[2 * layer + 1][member], variance)


@pytest.mark.parametrize("position", ["after_activation", "before_activation"])
def test_accuracies_are_those_of_the_statistics_that_they_name(params: Make, split: Split, position: str) -> None:
    described = population(params(**SETTINGS, norm_position=position), "batchnorm")
    network = trained(described, split)
    images, labels = split.validation.images, split.validation.labels
    with torch.no_grad():
        measured = running_statistics.probe(described, split)(network)
        running = network(images)
        recomputed = running_statistics.statistics(network, list(torch.split(split.train.images[:48], 16)))
        other = copy.deepcopy(network)
        for buffer, value in zip(other.norms.buffers(), recomputed, strict=True):
            buffer.copy_(value)
        by_recomputed = other(images)
        by_batch = torch.cat([copy.deepcopy(network).train()(batch) for batch in torch.split(images, 16)], dim=1)
    for name, logits in (("running", running), ("recomputed", by_recomputed), ("batch", by_batch)):
        assert torch.equal(measured[name], (logits.argmax(2) == labels).double().mean(1)), name
    lags = [
        ((old - new).abs() / spread.sqrt())
        for old, new, spread in zip(list(network.norms.buffers())[::2], recomputed[::2], recomputed[1::2], strict=True)
    ]
    torch.testing.assert_close(measured["lag_mean"], torch.cat(lags, 1).median(1).values)
    with torch.no_grad():
        same = running_statistics.probe(described, split)(other)
    for name in ("lag_mean", "lag_deviation"):
        assert float(measured[name].min()) > 0
        torch.testing.assert_close(same[name], torch.zeros(2), atol=1e-5, rtol=0)


def test_a_plain_network_has_no_statistics(params: Make, split: Split) -> None:
    described = population(params(**SETTINGS), "plain")
    network = trained(described, split)
    with torch.no_grad():
        measured = running_statistics.probe(described, split)(network)
    assert sorted(measured) == ["batch", "recomputed", "running"]
    assert torch.equal(measured["running"], measured["recomputed"])


# What enters the activation functions


@pytest.mark.parametrize("variant", VARIANTS)
def test_percentiles_are_of_what_enters_the_last_sigmoids(params: Make, split: Split, variant: Variant) -> None:
    described = population(params(**SETTINGS, norm_position="before_activation"), variant)
    network = trained(described, split)
    with torch.no_grad():
        measured = covariate_shift.probe(described, split)(network)
    state = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    train, seen = (part.images.double().numpy() for part in (split.train, split.validation))
    for member, kind in itertools.product(range(2), ("running", "recomputed")):
        hidden, basis = seen, train
        for layer in range(2):
            if layer:
                hidden, basis = logistic(hidden), logistic(basis)
            weight, bias = (state[f"linears.{layer}.{name}"][member] for name in ("weight", "bias"))
            hidden, basis = hidden @ weight.T + bias, basis @ weight.T + bias
            if variant == "batchnorm":
                mean, var = (state[f"norms.{layer}.running_{name}"][member] for name in ("mean", "var"))
                if kind == "recomputed":
                    mean, var = basis.mean(0), basis.var(0, ddof=1)
                scale, shift = (state[f"norms.{layer}.{name}"][member] for name in ("scale", "shift"))
                hidden = (hidden - mean) / np.sqrt(var + 1e-5) * scale + shift
                basis = (basis - basis.mean(0)) / np.sqrt(basis.var(0) + 1e-5) * scale + shift
        expected = np.percentile(hidden, [15, 50, 85], axis=0).T
        np.testing.assert_allclose(measured[kind][member], expected, rtol=1e-4, atol=1e-5)
        for at, level in enumerate((15, 50, 85)):
            assert torch.equal(measured[f"{kind}_{level}"], measured[kind][:, 0, at])
        logits = logistic(hidden) @ state["linears.2.weight"][member].T + state["linears.2.bias"][member]
        right = logits.argmax(1) == split.validation.labels.numpy()
        assert float(measured[f"{kind}_accuracy"][member]) == right.mean()
    assert torch.equal(measured["running"], measured["recomputed"]) == (variant == "plain")


def test_the_labs_picture_is_of_another_network_unless_it_normalises_before(params: Make, split: Split) -> None:
    images = split.test.images
    for position in ("after_activation", "before_activation"):
        described = population(params(**SETTINGS, norm_position=position), "batchnorm")
        network = trained(described, split)
        with torch.no_grad():
            measured = lab_view.probe(described, split)(network)
            (first, second), (norm, other) = network.linears[:2], network.norms
            as_lab = other(second(torch.sigmoid(norm(first(images)))))
            trained_so = second(norm(torch.sigmoid(first(images))))
            first_so = norm(first(images)) if position == "before_activation" else first(images)
        torch.testing.assert_close(measured["lab"], as_lab[:, 0])
        second_so = as_lab if position == "before_activation" else trained_so
        torch.testing.assert_close(measured["network"], second_so[:, 0])
        for number, expected in enumerate((first_so, second_so), start=1):
            for name, values in lab_view.spread(expected).items():
                torch.testing.assert_close(measured[f"layer{number}_{name}"], values)


def test_spread_within_units_is_told_from_spread_between_them() -> None:
    alternating = torch.tensor([-1.0, 1, -1, 1])
    same_means = torch.stack([alternating, 3 * alternating], dim=1)  # two units over four images
    constant = torch.tensor([[-5.0, 5]]).expand(4, 2)
    spread = lab_view.spread(torch.stack([same_means, constant]))
    assert spread["mean"].tolist() == [0, 0]
    assert spread["pooled"].tolist() == pytest.approx([math.sqrt(40 / 7), math.sqrt(200 / 7)])
    assert spread["within"].tolist() == pytest.approx([2 * math.sqrt(4 / 3), 0])
    assert spread["between"].tolist() == pytest.approx([0, math.sqrt(50)])


def test_a_plain_networks_picture_is_the_networks(params: Make, split: Split) -> None:
    described = population(params(**SETTINGS), "plain")
    network = trained(described, split)
    with torch.no_grad():
        measured = lab_view.probe(described, split)(network)
    assert torch.equal(measured["lab"], measured["network"])
    assert math.isfinite(float(measured["layer2_mean"][0]))
