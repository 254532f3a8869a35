"""The perceptron against formulas written by hand in numpy, float64, one member at a time."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.network.layers import Linear, Noise
from pipeline.network.metrics import member_losses
from pipeline.network.perceptron import Perceptron, restore
from pipeline.params import ALL_VARIANTS, VARIANTS, Params, Variant
from tests.samples import KINDS

Floats = NDArray[np.float64]
State = dict[str, Floats]

BATCH = 12
BY_HAND = [kind for kind in KINDS if kind[0] in VARIANTS]
ACTIVATIONS = ["sigmoid", "tanh", "relu"]

FUNCTION: dict[str, Callable[[Floats], Floats]] = {
    "sigmoid": lambda z: np.asarray(1 / (1 + np.exp(-z))),
    "tanh": lambda z: (np.exp(2 * z) - 1) / (np.exp(2 * z) + 1),
    "relu": lambda z: np.where(z > 0, z, 0),
}
SLOPE: dict[str, Callable[[Floats], Floats]] = {  # in terms of the function's value
    "sigmoid": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a**2,
    "relu": lambda a: (a > 0).astype(float),
}


class ByHand:
    """One network in numpy: forward, mean cross-entropy and its gradient."""

    def __init__(self, state: State, activation: str, batchnorm: bool, before: bool, training: bool) -> None:
        self.state, self.activation = state, activation
        self.batchnorm, self.before, self.training = batchnorm, before, training
        self.layers = sum(name.endswith("weight") for name in state) - 1
        self.kept: dict[str, Floats] = {}
        self.gradient: State = {}

    def normalise(self, layer: int, x: Floats) -> Floats:
        if self.training:
            mean = x.sum(0) / len(x)
            var = ((x - mean) ** 2).sum(0) / len(x)
        else:
            mean, var = self.state[f"norms.{layer}.running_mean"], self.state[f"norms.{layer}.running_var"]
        root = np.sqrt(var + 1e-5)
        normal = (x - mean) / root
        self.kept |= {f"root{layer}": root, f"normal{layer}": normal}
        normalised: Floats = normal * self.state[f"norms.{layer}.scale"] + self.state[f"norms.{layer}.shift"]
        return normalised

    def forward(self, images: Floats) -> Floats:
        hidden = images
        for layer in range(self.layers + 1):
            self.kept[f"input{layer}"] = hidden
            hidden = hidden @ self.state[f"linears.{layer}.weight"].T + self.state[f"linears.{layer}.bias"]
            if layer == self.layers:
                break
            if self.batchnorm and self.before:
                hidden = self.normalise(layer, hidden)
            hidden = FUNCTION[self.activation](hidden)
            self.kept[f"active{layer}"] = hidden
            if self.batchnorm and not self.before:
                hidden = self.normalise(layer, hidden)
        return hidden

    def loss(self, images: Floats, labels: NDArray[np.int64]) -> float:
        logits = self.forward(images)
        likelihood = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        self.kept["error"] = (likelihood - np.eye(10)[labels]) / len(labels)
        return float(-np.log(likelihood[range(len(labels)), labels]).mean())

    def back_through_norm(self, layer: int, error: Floats) -> Floats:
        """Ioffe & Szegedy 2015, section 3: the gradients through the batch's mean and variance included."""
        normal, count = self.kept[f"normal{layer}"], len(error)
        self.gradient[f"norms.{layer}.scale"] = (error * normal).sum(0)
        self.gradient[f"norms.{layer}.shift"] = error.sum(0)
        inner = error * self.state[f"norms.{layer}.scale"]
        through = count * inner - inner.sum(0) - normal * (inner * normal).sum(0)
        scaled: Floats = through / (count * self.kept[f"root{layer}"])
        return scaled

    def backward(self) -> State:
        error = self.kept["error"]
        for layer in reversed(range(self.layers + 1)):
            if layer < self.layers:
                if self.batchnorm and not self.before:
                    error = self.back_through_norm(layer, error)
                error = error * SLOPE[self.activation](self.kept[f"active{layer}"])
                if self.batchnorm and self.before:
                    error = self.back_through_norm(layer, error)
            self.gradient[f"linears.{layer}.weight"] = error.T @ self.kept[f"input{layer}"]
            self.gradient[f"linears.{layer}.bias"] = error.sum(0)
            error = error @ self.state[f"linears.{layer}.weight"]
        return self.gradient


def random_network(params: Params, variant: Variant, seeds: int = 2) -> Perceptron:
    """A network in float64 whose scales, shifts and running statistics are nothing special."""
    network = Perceptron(params.model, variant, range(seeds)).double()
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.startswith("norms."):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64))
    return network


def inputs(seeds: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(seeds, BATCH, 784, generator=generator, dtype=torch.float64)
    return images, torch.randint(10, (seeds, BATCH), generator=generator)


def state_of(network: Perceptron, member: int) -> State:
    return {name: tensor[member].numpy().copy() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("variant", "position"), BY_HAND)
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_those_of_the_formula(
    params: Callable[..., Params], activation: str, variant: Variant, position: str, training: bool
) -> None:
    chosen = params(hidden="8,6", activation=activation, norm_position=position, groups="2")
    network = random_network(chosen, variant).train(training)
    states = [state_of(network, member) for member in range(2)]
    images, _ = inputs()
    logits = network(images).detach().numpy()
    for member, state in enumerate(states):
        by_hand = ByHand(state, activation, variant == "batchnorm", position == "before_activation", training)
        np.testing.assert_allclose(logits[member], by_hand.forward(images[member].numpy()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("variant", "position"), BY_HAND)
def test_the_gradient_is_that_of_backpropagation_by_hand(
    params: Callable[..., Params], activation: str, variant: Variant, position: str
) -> None:
    chosen = params(hidden="8,6", activation=activation, norm_position=position, groups="2")
    network = random_network(chosen, variant)
    states = [state_of(network, member) for member in range(2)]
    images, labels = inputs()
    losses = member_losses(network(images), labels)
    names = [name for name, _ in network.named_parameters()]
    gradients = torch.autograd.grad(losses.sum(), list(network.parameters()))
    for member, state in enumerate(states):
        by_hand = ByHand(state, activation, variant == "batchnorm", position == "before_activation", training=True)
        assert losses[member].item() == pytest.approx(by_hand.loss(images[member].numpy(), labels[member].numpy()))
        expected = by_hand.backward()
        assert set(names) == set(expected)
        for name, gradient in zip(names, gradients, strict=True):
            np.testing.assert_allclose(gradient[member].numpy(), expected[name], rtol=1e-8, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("position", ["after_activation", "before_activation"])
def test_running_statistics_follow_pytorchs_rule(params: Callable[..., Params], position: str) -> None:
    network = random_network(params(hidden="8,6", norm_position=position), "batchnorm")
    normalised = "pre_activation" if position == "before_activation" else "activation"
    for _ in range(3):
        before = network.state_dict()
        old = {name: tensor.clone() for name, tensor in before.items()}
        seen: dict[str, Tensor] = {}
        network(torch.rand(2, BATCH, 784, dtype=torch.float64), seen.__setitem__)
        for layer in (0, 1):
            x = seen[f"layer{layer + 1}.{normalised}"].detach()
            mean = x.sum(1) / BATCH
            var = (x - mean[:, None]).square().sum(1) / (BATCH - 1)
            for name, batch in (("running_mean", mean), ("running_var", var)):
                running = network.state_dict()[f"norms.{layer}.{name}"]
                torch.testing.assert_close(running, 0.9 * old[f"norms.{layer}.{name}"] + 0.1 * batch)


def test_evaluation_leaves_the_running_statistics_alone(params: Callable[..., Params]) -> None:
    network = random_network(params(hidden="8,6"), "batchnorm").eval()
    old = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network(inputs()[0])
    assert all(torch.equal(tensor, old[name]) for name, tensor in network.state_dict().items())


def test_batch_normalization_starts_as_the_identity_on_normalised_values(params: Callable[..., Params]) -> None:
    state = Perceptron(params(hidden="8,6").model, "batchnorm", [3]).state_dict()
    for layer in (0, 1):
        for name, value in (("scale", 1), ("shift", 0), ("running_mean", 0), ("running_var", 1)):
            assert (state[f"norms.{layer}.{name}"] == value).all()


def test_a_hidden_unit_has_mean_zero_and_variance_one_over_the_batch(params: Callable[..., Params]) -> None:
    network = Perceptron(params(hidden="8,6", activation="relu").model, "batchnorm", [0, 1]).double()
    seen: dict[str, Tensor] = {}
    network(inputs()[0], seen.__setitem__)
    for layer in (1, 2):
        x, y = seen[f"layer{layer}.activation"].detach(), seen[f"layer{layer}.normalised"].detach()
        var = x.var(1, correction=0)
        torch.testing.assert_close(y.mean(1), torch.zeros_like(var), atol=1e-12, rtol=0)
        torch.testing.assert_close(y.var(1, correction=0), var / (var + 1e-5))


@pytest.mark.parametrize("hidden", ["100,100", "7", "33,1,5"])
@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_initial_weights_are_those_of_torch_nn_linear(
    params: Callable[..., Params], hidden: str, variant: Variant
) -> None:
    model = params(hidden=hidden, groups="1").model
    seeds = [0, 5, 2**31 - 1]
    state = Perceptron(model, variant, seeds).state_dict()
    for member, seed in enumerate(seeds):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            linears = [torch.nn.Linear(*pair) for pair in pairwise((784, *model.hidden, 10))]
        for number, linear in enumerate(linears):
            assert torch.equal(state[f"linears.{number}.weight"][member], linear.weight)
            assert torch.equal(state[f"linears.{number}.bias"][member], linear.bias)


def test_initial_weights_may_be_normal(params: Callable[..., Params]) -> None:
    model = params(initial_deviation="0.05").model
    state = Perceptron(model, "plain", [0, 1]).state_dict()
    for number, inputs in enumerate((784, 100, 100)):
        weight = state[f"linears.{number}.weight"]
        assert abs(float(weight.std()) / 0.05 - 1) < 0.05, inputs
        assert abs(float(weight.mean())) < 0.005
        assert float(state[f"linears.{number}.bias"].abs().max()) == 0
        assert not torch.equal(weight[0], weight[1])
    alone = Perceptron(model, "batchnorm", [1]).state_dict()
    assert torch.equal(alone["linears.0.weight"][0], state["linears.0.weight"][1])


def test_binary_input_is_pixels_above_one_half(params: Callable[..., Params]) -> None:
    images = torch.tensor([0.0, 0.5, 0.501, 1.0]).repeat(784 // 4).expand(3, -1)
    exact = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(784 // 4).expand(3, -1)
    binary, plain = (Perceptron(params(binary_input=text).model, "plain", [4]) for text in ("true", "false"))
    assert torch.equal(binary(images), plain(exact))
    assert not torch.equal(binary(images), plain(images))


NOISY = {"hidden": "40,30", "noise": "true"}


@pytest.mark.parametrize(("variant", "position"), [*KINDS, ("plain", "before_activation")])
def test_noise_is_of_training_alone_and_stands_where_batch_normalization_does(
    params: Callable[..., Params], variant: Variant, position: str
) -> None:
    noisy, quiet = (
        Perceptron(params(**NOISY | {"noise": text}, norm_position=position, groups="2").model, variant, [3, 9])
        for text in ("true", "false")
    )
    images = torch.rand(2, 500, 784, generator=torch.Generator().manual_seed(0))
    seen: dict[str, Tensor] = {}
    assert not torch.equal(noisy(images, seen.__setitem__), quiet(images))
    quiet.load_state_dict({name: t for name, t in noisy.state_dict().items() if not name.startswith("noises")})
    assert torch.equal(noisy.eval()(images), quiet.eval()(images))
    followed = "layer1.activation" if position == "before_activation" else "layer2.pre_activation"
    clean = seen["layer1.normalised" if noisy.norms else f"layer1.{'pre_' * noisy.before}activation"]
    disturbed = Noise([3, 9], 0)(clean)
    through = torch.sigmoid(disturbed) if position == "before_activation" else noisy.linears[1](disturbed)
    torch.testing.assert_close(seen[followed], through, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("position", ["after_activation", "before_activation"])
def test_batch_statistics_leave_the_running_ones_as_they_were(params: Callable[..., Params], position: str) -> None:
    network = Perceptron(params(**NOISY, norm_position=position).model, "batchnorm", [0, 1])
    images = torch.rand(2, 16, 784, generator=torch.Generator().manual_seed(0))
    network(images)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.eval()
    by_running = network(images)
    with network.batch_statistics():
        by_batch = network(images)
        assert not any(noise.training for noise in network.noises)
    assert not torch.equal(by_batch, by_running)
    assert torch.equal(network(images), by_running)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module.training for module in network.modules())


def test_all_variants_of_a_seed_start_equal_and_seeds_differ(params: Callable[..., Params]) -> None:
    plain, *others = (Perceptron(params().model, variant, [1, 2]).state_dict() for variant in ALL_VARIANTS)
    assert all(torch.equal(tensor, other[name]) for other in others for name, tensor in plain.items())
    assert all(not torch.equal(tensor[0], tensor[1]) for tensor in plain.values())


def test_building_a_network_leaves_the_global_random_state_alone(params: Callable[..., Params]) -> None:
    state = torch.get_rng_state()
    Perceptron(params(hidden="5").model, "batchnorm", [0, 1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("variant", "position"), KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_a_population_is_its_members_alone(
    params: Callable[..., Params], variant: Variant, position: str, training: bool
) -> None:
    model = params(hidden="8,6", norm_position=position, groups="2").model
    together = Perceptron(model, variant, [4, 8, 6]).double().train(training)
    images = torch.rand(3, BATCH, 784, dtype=torch.float64)
    logits = together(images)
    for member, seed in enumerate([4, 8, 6]):
        alone = Perceptron(model, variant, [seed]).double().train(training)
        torch.testing.assert_close(logits[member], alone(images[member : member + 1])[0], rtol=1e-12, atol=1e-12)
        for name, tensor in alone.state_dict().items():
            torch.testing.assert_close(together.state_dict()[name][member], tensor[0], rtol=1e-12, atol=1e-12)


def test_a_members_gradient_does_not_reach_the_others(params: Callable[..., Params]) -> None:
    network = random_network(params(hidden="8,6"), "batchnorm", seeds=3)
    images, labels = inputs(3)
    gradients = torch.autograd.grad(member_losses(network(images), labels)[1], list(network.parameters()))
    for gradient in gradients:
        assert gradient[0].count_nonzero() == gradient[2].count_nonzero() == 0
        assert gradient[1].count_nonzero() > 0


@pytest.mark.parametrize(("variant", "position"), KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_shared_images_are_the_same_images_for_every_member(
    params: Callable[..., Params], variant: Variant, position: str, training: bool
) -> None:
    chosen = params(hidden="8,6", norm_position=position, groups="2")
    images = inputs()[0][0]
    shared = random_network(chosen, variant, 3).train(training)(images)
    expanded = random_network(chosen, variant, 3).train(training)(images.expand(3, -1, -1))
    assert shared.shape == (3, BATCH, 10)
    torch.testing.assert_close(shared, expanded, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("variant", "position", "kinds"),
    [
        ("plain", "after_activation", ["pre_activation", "activation"]),
        ("plain", "before_activation", ["pre_activation", "activation"]),
        ("weightnorm", "after_activation", ["pre_activation", "activation"]),
        ("batchnorm", "after_activation", ["pre_activation", "activation", "normalised"]),
        ("batchnorm", "before_activation", ["pre_activation", "normalised", "activation"]),
        ("rmsnorm", "after_activation", ["pre_activation", "activation", "normalised"]),
        ("rmsnorm", "before_activation", ["pre_activation", "normalised", "activation"]),
    ],
)
def test_what_is_observed_is_what_makes_the_logits(
    params: Callable[..., Params], variant: Variant, position: str, kinds: list[str]
) -> None:
    chosen = params(hidden="7,6,5", norm_position=position, activation="tanh")
    network = random_network(chosen, variant)
    seen: list[tuple[str, Tensor]] = []
    logits = network(inputs()[0], lambda name, tensor: seen.append((name, tensor)))
    assert [name for name, _ in seen] == [f"layer{layer}.{kind}" for layer in (1, 2, 3) for kind in kinds]
    assert [tuple(tensor.shape) for _, tensor in seen] == [(2, BATCH, units) for units in (7, 6, 5) for _ in kinds]
    told = network.hidden_tensors()
    assert [(tensor.name, tensor.units) for tensor in told] == [(name, values.shape[2]) for name, values in seen]
    after = kinds[kinds.index("activation") + 1 :]
    sides = {kind: "output" if kind == "activation" else None if kind in after else "input" for kind in kinds}
    assert [tensor.side for tensor in told] == 3 * list(sides.values())
    state = network.state_dict()
    by_name = dict(seen)
    for layer in (1, 2, 3):
        last = by_name[f"layer{layer}.{kinds[-1]}"]
        following = by_name[f"layer{layer + 1}.pre_activation"] if layer < 3 else logits
        linear = network.linears[layer]
        assert isinstance(linear, Linear)
        recomputed = last @ linear.matrix().mT + state[f"linears.{layer}.bias"].unsqueeze(1)
        torch.testing.assert_close(following, recomputed, rtol=1e-12, atol=1e-12)
        source = "normalised" if kinds[1] == "normalised" else "pre_activation"
        activation = by_name[f"layer{layer}.activation"]
        torch.testing.assert_close(activation, by_name[f"layer{layer}.{source}"].tanh(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    ("variant", "of_a_unit"),
    [("plain", 0), ("batchnorm", 2), ("layernorm", 2), ("groupnorm", 2), ("rmsnorm", 1), ("weightnorm", 1)],
)
def test_the_number_of_parameters(
    params: Callable[..., Params], members: int, variant: Variant, of_a_unit: int
) -> None:
    network = Perceptron(params().model, variant, range(members))
    plain = 784 * 100 + 100 + 100 * 100 + 100 + 100 * 10 + 10
    assert plain == 89_610
    count = plain + of_a_unit * (100 + 100)
    assert sum(parameter.numel() for parameter in network.parameters()) == members * count


@pytest.mark.parametrize(("variant", "position"), KINDS)
def test_a_network_is_restored_from_its_state(params: Callable[..., Params], variant: Variant, position: str) -> None:
    model = params(hidden="8,6", norm_position=position, groups="2").model
    network = Perceptron(model, variant, [3, 1, 2])
    network(torch.rand(3, BATCH, 784))
    again = restore(model, variant, {name: tensor.numpy() for name, tensor in network.state_dict().items()})
    assert not again.training
    assert again.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in again.state_dict().items())
    assert all(tensor.shape[0] == 3 for tensor in again.state_dict().values())
    images = torch.rand(5, 784)
    assert torch.equal(again(images), network.eval()(images))


def test_one_member_can_be_restored_alone(params: Callable[..., Params]) -> None:
    model = params(hidden="8,6").model
    network = Perceptron(model, "batchnorm", [3, 1, 2]).eval()
    alone = restore(model, "batchnorm", {name: tensor[1:2].numpy() for name, tensor in network.state_dict().items()})
    images = torch.rand(5, 784)
    torch.testing.assert_close(alone(images)[0], network(images)[1])
