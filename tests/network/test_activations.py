"""Histograms and moments against numpy over all values at once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.dataset import Examples
from pipeline.network.activations import BINS, Scale, measure, scale
from pipeline.network.metrics import member_losses
from pipeline.network.perceptron import Perceptron
from pipeline.params import Params, Variant
from tests.samples import KINDS

ACTIVATIONS = ["sigmoid", "tanh", "relu"]
Make = Callable[..., Params]


def network_of(params: Params, variant: Variant) -> Perceptron:
    """Three members, in evaluation mode, wide enough apart to saturate some units."""
    network = Perceptron(params.model, variant, [0, 1, 2])
    with torch.no_grad():
        for linear in network.linears:
            linear.get_parameter("weight").mul_(12)
        for name, tensor in network.state_dict().items():
            if name.startswith("norms."):
                tensor.copy_(0.2 + torch.rand(tensor.shape, generator=torch.Generator().manual_seed(2)))
    return network.eval()


def seen_by(network: Perceptron, examples: Examples) -> dict[str, NDArray[np.float64]]:
    seen: dict[str, Tensor] = {}
    with torch.no_grad():
        network(examples.images, seen.__setitem__)
    return {name: tensor.double().numpy() for name, tensor in seen.items()}


def place(axis: Scale, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where values lie on the axis, in bins."""
    bent = np.arcsinh(values) if axis.asinh else values
    return np.asarray((bent - axis.low) / (axis.high - axis.low) * BINS)


@pytest.mark.parametrize(
    ("tensor", "activation", "expected"),
    [
        ("layer1.activation", "sigmoid", Scale(0, 1, asinh=False)),
        ("layer12.activation", "tanh", Scale(-1, 1, asinh=False)),
        ("layer1.activation", "relu", Scale(-10, 10, asinh=True)),
        ("layer1.pre_activation", "sigmoid", Scale(-10, 10, asinh=True)),
        ("layer2.normalised", "tanh", Scale(-10, 10, asinh=True)),
    ],
)
def test_bounded_values_are_binned_evenly_and_others_by_asinh(tensor: str, activation: str, expected: Scale) -> None:
    assert scale(tensor, activation) == expected


def test_edges_are_values_of_the_tensor() -> None:
    np.testing.assert_allclose(Scale(0, 1, asinh=False).edges(), [bin / 100 for bin in range(101)], atol=1e-15)
    expected = [(np.exp(z) - np.exp(-z)) / 2 for z in np.linspace(-10, 10, 101)]
    np.testing.assert_allclose(Scale(-10, 10, asinh=True).edges(), expected, rtol=1e-9, atol=1e-12)
    assert Scale(-10, 10, asinh=True).edges()[-1] == pytest.approx(11013.2, abs=0.1)


@pytest.mark.parametrize("axis", [Scale(0, 1, asinh=False), Scale(-1, 1, asinh=False), Scale(-10, 10, asinh=True)])
def test_counts_are_numpys(axis: Scale) -> None:
    random = np.random.default_rng(0)
    values = random.uniform(axis.low, axis.high, (3, 50, 40))
    values = np.sinh(values) if axis.asinh else values
    values = values.astype(np.float32).astype(float)
    near = np.abs(place(axis, values) - place(axis, values).round()) < 1e-3
    values[near] = 0.0037  # inside a bin of every axis: at an edge, float32 may choose the other side
    counts = axis.count(torch.from_numpy(values).float())
    for member in range(3):
        bent = np.arcsinh(values[member]) if axis.asinh else values[member]
        expected, _ = np.histogram(bent, bins=BINS, range=(axis.low, axis.high))
        np.testing.assert_array_equal(counts[member].numpy(), expected)
        by_edges, _ = np.histogram(values[member], bins=list(axis.edges()))
        np.testing.assert_array_equal(counts[member].numpy(), by_edges)


@pytest.mark.parametrize("axis", [Scale(0, 1, asinh=False), Scale(-1, 1, asinh=False), Scale(-10, 10, asinh=True)])
def test_values_beyond_the_outermost_bins_land_in_them(axis: Scale) -> None:
    low, high = float(axis.edges()[0]), float(axis.edges()[-1])
    values = torch.tensor([low, low - 1, -1e30, -torch.inf, high, high + 1, 1e30, torch.inf, high * 1.01]).view(1, 3, 3)
    counts = axis.count(values)[0].tolist()
    assert counts[0] == 4
    assert counts[-1] == 5
    assert sum(counts) == 9


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("variant", "position"), KINDS)
def test_a_pass_counts_every_value_of_every_tensor(
    params: Make, examples: Callable[..., Examples], activation: str, variant: Variant, position: str
) -> None:
    network = network_of(params(hidden="10,8", activation=activation, norm_position=position, groups="2"), variant)
    images = examples(31)
    measured = measure(network, activation, images, 10)
    seen = seen_by(network, images)
    assert {name for name in measured if name.endswith(".counts")} == {f"{name}.counts" for name in seen}
    for name, values in seen.items():
        counts = measured[f"{name}.counts"]
        assert counts.shape == (3, BINS)
        assert counts.sum() == 3 * 31 * values.shape[2]
        axis = scale(name, activation)
        index = np.clip(np.floor(place(axis, values)), 0, BINS - 1).astype(int)
        expected = np.stack([np.bincount(member.ravel(), minlength=BINS) for member in index])
        assert np.abs(counts.numpy() - expected).sum() <= 4, "float32 may move a value or two across an edge"


@pytest.mark.parametrize("batch_size", [1, 7, 31, 1000])
@pytest.mark.parametrize(("variant", "position"), KINDS)
def test_moments_are_numpys_for_any_batch_size(
    params: Make, examples: Callable[..., Examples], variant: Variant, position: str, batch_size: int
) -> None:
    network = network_of(params(hidden="10,8", norm_position=position, groups="2"), variant)
    images = examples(31)
    measured = measure(network, "sigmoid", images, batch_size)
    for name, values in seen_by(network, images).items():
        for member in range(3):
            mean = values[member].sum() / values[member].size
            std = np.sqrt(((values[member] - mean) ** 2).sum() / values[member].size)
            assert measured[f"{name}.mean"][member].item() == pytest.approx(mean, rel=1e-4, abs=1e-6)
            assert measured[f"{name}.std"][member].item() == pytest.approx(std, rel=1e-4)


@pytest.mark.parametrize("constant", [0.1, 300.1, -77.7])
def test_a_constant_has_no_deviation(params: Make, examples: Callable[..., Examples], constant: float) -> None:
    network = network_of(params(hidden="9"), "plain")
    with torch.no_grad():
        network.linears[0].get_parameter("weight").zero_()
        network.linears[0].get_parameter("bias").fill_(constant)
    measured = measure(network, "sigmoid", examples(31), 10)
    for member in range(3):
        assert measured["layer1.pre_activation.mean"][member].item() == pytest.approx(constant, rel=1e-6)
        assert measured["layer1.pre_activation.std"][member].item() < 1e-6 * abs(constant)


@pytest.mark.parametrize("batch_size", [1, 7, 31, 1000])
def test_the_batch_size_bounds_memory_and_not_results(
    params: Make, examples: Callable[..., Examples], batch_size: int
) -> None:
    network = network_of(params(hidden="10,8"), "batchnorm").double()
    images = Examples(examples(31).images.double(), examples(31).labels)
    whole, parts = (measure(network, "sigmoid", images, size) for size in (31, batch_size))
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-10, atol=1e-10)


DEFINITION: dict[str, Callable[[NDArray[np.float64]], NDArray[np.bool_]]] = {
    "sigmoid": lambda a: (a < 0.01) | (a > 0.99),
    "tanh": lambda a: (a < -0.98) | (a > 0.98),
    "relu": lambda a: a == 0,
}
FUNCTION: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("variant", "position"), KINDS)
def test_saturation_is_within_one_per_cent_of_the_limits(
    params: Make, examples: Callable[..., Examples], activation: str, variant: Variant, position: str
) -> None:
    network = network_of(params(hidden="10,8", activation=activation, norm_position=position, groups="2"), variant)
    images = examples(31)
    measured = measure(network, activation, images, 10)
    for name, values in seen_by(network, images).items():
        if name.endswith(".normalised") and position == "after_activation":
            assert f"{name}.saturated" not in measured
            continue
        outputs = values if name.endswith(".activation") else FUNCTION[activation](values)
        expected = DEFINITION[activation](outputs).mean(axis=(1, 2))
        np.testing.assert_allclose(measured[f"{name}.saturated"].numpy(), expected, atol=1 / 248, err_msg=name)
        if variant == "plain" or position == "after_activation":
            assert torch.equal(
                measured[f"{name.split('.')[0]}.activation.saturated"],
                measured[f"{name.split('.')[0]}.pre_activation.saturated"],
            )
    assert 0 < measured["layer1.pre_activation.saturated"].mean() < 1


def test_loss_and_accuracy_are_of_all_images(params: Make, examples: Callable[..., Examples]) -> None:
    network = network_of(params(hidden="10,8"), "batchnorm")
    images = examples(31)
    measured = measure(network, "sigmoid", images, 10)
    with torch.no_grad():
        logits = network(images.images).double().numpy()
    labels = images.labels.numpy()
    for member in range(3):
        right = sum(int(np.argmax(row)) == label for row, label in zip(logits[member], labels, strict=True))
        assert measured["accuracy"][member].item() == right / 31
        row = logits[member]
        loss = (np.log(np.exp(row).sum(1)) - row[range(31), labels]).mean()
        assert measured["loss"][member].item() == pytest.approx(loss, rel=1e-5)
    expanded = labels[None].repeat(3, axis=0)
    again = member_losses(torch.from_numpy(logits), torch.from_numpy(expanded))
    torch.testing.assert_close(measured["loss"].double(), again, rtol=1e-5, atol=1e-6)
