"""The normalisations against PyTorch's own modules, by hand, and each member against itself alone."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.network.metrics import member_losses
from pipeline.network.normalisation import NORMS, BatchNorm, GroupNorm, RMSNorm, WeightNorm, check_variant
from pipeline.network.perceptron import Perceptron
from pipeline.params import ALL_VARIANTS, Params, Variant
from tests.reference import copy, parameters, reference
from tests.samples import KINDS, POSITIONS

Make = Callable[..., Params]

BATCH = 12


def test_every_member_is_normalised_as_pytorch_would_alone(params: Make) -> None:
    ours, inputs = (
        BatchNorm(2, 3, params().model),
        torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0)) * 4 + 2,
    )
    theirs = [torch.nn.BatchNorm1d(3) for _ in range(2)]
    trained = ours(inputs)
    for member, norm in enumerate(theirs):
        torch.testing.assert_close(trained[member], norm(inputs[member]))
    evaluated = ours.eval()(inputs)
    for member, norm in enumerate(theirs):
        torch.testing.assert_close(evaluated[member], norm.eval()(inputs[member]))


def random_network(params: Params, variant: Variant, members: int) -> Perceptron:
    """A network in float64 whose scales, shifts and lengths are nothing special."""
    network = Perceptron(params.model, variant, range(members)).double()
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("norms.") or name.endswith(".length"):
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator, dtype=torch.float64))
    return network


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize(("variant", "position"), KINDS)
def test_a_network_and_its_gradient_are_those_of_pytorchs_modules(
    params: Make, activation: str, variant: Variant, position: str
) -> None:
    chosen = params(hidden="8,6", groups="2", activation=activation, norm_position=position)
    network = random_network(chosen, variant, 2)
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(2, BATCH, 784, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (2, BATCH), generator=generator)
    logits = network(images)
    names = [name for name, _ in network.named_parameters()]
    gradients = torch.autograd.grad(member_losses(logits, labels).sum(), list(network.parameters()))
    for member in range(2):
        theirs = reference(chosen.model, variant, member).double()
        copy(network, member, into=theirs)
        expected = theirs(images[member])
        torch.testing.assert_close(logits[member], expected, rtol=1e-10, atol=1e-12)
        nn.functional.cross_entropy(expected, labels[member]).backward()  # type: ignore[no-untyped-call]
        by_name = parameters(theirs)
        assert by_name.keys() == set(names)
        for name, gradient in zip(names, gradients, strict=True):
            slope = by_name[name].grad
            assert slope is not None
            torch.testing.assert_close(gradient[member], slope, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("variant", "position"), KINDS)
def test_untrained_networks_are_pytorchs(params: Make, variant: Variant, position: str) -> None:
    model = params(hidden="8,6", groups="2", norm_position=position).model
    network = Perceptron(model, variant, [3, 1])
    images = torch.rand(BATCH, 784, generator=torch.Generator().manual_seed(0))
    for member, seed in enumerate((3, 1)):
        theirs = reference(model, variant, seed)
        for name, parameter in parameters(theirs).items():
            torch.testing.assert_close(network.get_parameter(name)[member], parameter)
        torch.testing.assert_close(network(images)[member], theirs(images))


def test_weight_normalisation_changes_no_function_before_training(params: Make) -> None:
    model, images = params(hidden="8,6").model, torch.rand(BATCH, 784)
    plain, normed = (Perceptron(model, variant, [1, 2]) for variant in ("plain", "weightnorm"))
    torch.testing.assert_close(normed(images), plain(images))


# By hand


def applied(layer: nn.Module, values: list[float], slopes: list[float]) -> tuple[list[float], list[float]]:
    """The outputs of one image, and the gradient of their sum, weighted by `slopes`, in the inputs."""
    inputs = torch.tensor([[values]], dtype=torch.float64, requires_grad=True)
    outputs = layer.double()(inputs)
    (gradient,) = torch.autograd.grad((outputs * torch.tensor(slopes, dtype=torch.float64)).sum(), inputs)
    return outputs.flatten().tolist(), gradient.flatten().tolist()


def test_layer_normalization_by_hand(params: Make) -> None:
    # Mean 3, variance (4 + 1 + 0 + 9)/4 = 3.5.
    outputs, gradient = applied(NORMS["layernorm"](1, 4, params().model), [1, 2, 3, 6], [1, 0, 0, 0])
    assert outputs == pytest.approx([-1.06904, -0.53452, 0, 1.60357], abs=1e-5)
    assert gradient == pytest.approx([0.24817, -0.20999, -0.13363, 0.09545], abs=1e-5)


def test_group_normalization_by_hand() -> None:
    # Means 1.5 and 4.5, deviations 0.5 and 1.5; of two values only the order is left.
    layer = GroupNorm(1, 4, groups=2)
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([[1.0, 1.0, 2.0, 2.0]]))
        layer.shift.copy_(torch.tensor([[0.0, 0.0, 5.0, 5.0]]))
    outputs, gradient = applied(layer, [1, 2, 3, 6], [1, 0, 0, 0])
    assert outputs == pytest.approx([-1, 1, 3, 7], abs=1e-4)
    assert gradient == pytest.approx([0, 0, 0, 0], abs=1e-4)


def test_root_mean_square_normalisation_by_hand() -> None:
    # The root of (1 + 4 + 9 + 36)/4 is 3.53553.
    outputs, gradient = applied(RMSNorm(1, 4), [1, 2, 3, 6], [1, 0, 0, 0])
    assert outputs == pytest.approx([0.28284, 0.56569, 0.84853, 1.69706], abs=1e-5)
    assert gradient == pytest.approx([0.27719, -0.01131, -0.01697, -0.03394], abs=1e-5)


def test_weight_normalisation_by_hand() -> None:
    layer = WeightNorm(1, 2, 1).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[3.0, 4.0]]]))
        layer.length.fill_(10)
        layer.bias.fill_(1)
    images = torch.tensor([[[1.0, 0.5]]], dtype=torch.float64)
    output = layer(images)
    assert output.item() == pytest.approx(6 * 1 + 8 * 0.5 + 1)
    # Salimans & Kingma 2016, equation 3, where the gradient in w is (1, 0.5).
    of_direction, of_length = torch.autograd.grad(output.sum(), [layer.weight, layer.length])
    assert of_length.item() == pytest.approx((3 * 1 + 4 * 0.5) / 5)
    assert of_direction.flatten().tolist() == pytest.approx([2 * 1 - 0.4 * 3, 2 * 0.5 - 0.4 * 4])


# Members


def layer_of(variant: Variant, params: Params, members: int, batch: int, units: int) -> nn.Module:
    """A layer of so many units or, for `weightnorm`, an affine map to them from `batch` inputs."""
    return NORMS[variant](members, units, params.model) if variant in NORMS else WeightNorm(members, batch, units)


def results(layer: nn.Module, images: Tensor, slopes: Tensor) -> list[Tensor]:
    """What a layer makes of images, or its matrix, and the gradients of that, weighted by `slopes`."""
    images = images.clone().requires_grad_()
    leaves: list[Tensor]
    if isinstance(layer, WeightNorm):
        outputs, leaves = layer.matrix(), [layer.weight, layer.length]
        slopes = slopes.mT
    else:
        outputs, leaves = layer(images), [images, *layer.parameters()]
    return [outputs.detach(), *torch.autograd.grad(outputs, leaves, slopes)]


@pytest.mark.parametrize(("batch", "units"), [(1, 8), (7, 12), (60, 100), (33, 132)])
@pytest.mark.parametrize("variant", ["layernorm", "groupnorm", "rmsnorm", "weightnorm"])
def test_on_one_thread_a_member_is_to_the_byte_what_it_is_alone(
    params: Make, variant: Variant, batch: int, units: int
) -> None:
    assert torch.get_num_threads() == 1
    generator = torch.Generator().manual_seed(0)
    layer, alone = (layer_of(variant, params(), members, batch, units) for members in (5, 1))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(3 * torch.randn(parameter.shape, generator=generator) + 1)
    images, slopes = (3 * torch.randn(5, batch, units, generator=generator) + 1 for _ in range(2))
    together = results(layer, images, slopes)
    for member in range(5):
        alone.load_state_dict({name: values[member : member + 1] for name, values in layer.state_dict().items()})
        only = results(alone, images[member : member + 1], slopes[member : member + 1])
        assert all(torch.equal(values[member], own[0]) for values, own in zip(together, only, strict=True))


# Ghost batches, and the ingredients of Batch Normalization

INGREDIENTS = [
    {name: str(value).lower() for name, value in zip(("recentre", "rescale", "affine"), values, strict=True)}
    for values in itertools.product([True, False], repeat=3)
]


def by_hand(inputs: Tensor, scale: Tensor, shift: Tensor, settings: dict[str, str]) -> Tensor:
    """One member's Batch Normalization [batch, units] by the statistics of the batch."""
    mean, deviation = inputs.mean(0), (inputs.var(0, correction=0) + 1e-5).sqrt()
    centred = inputs - mean if settings["recentre"] == "true" else inputs
    scaled = centred / deviation if settings["rescale"] == "true" else centred
    return scaled * scale + shift if settings["affine"] == "true" else scaled


@pytest.mark.parametrize("ghost", [0, 2, 4, 6, 7, 20])
@pytest.mark.parametrize("settings", INGREDIENTS, ids=lambda settings: "-".join(settings.values()))
def test_ghost_batches_and_ingredients_by_hand(params: Make, settings: dict[str, str], ghost: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = BatchNorm(2, 5, params(**settings, ghost_batch=str(ghost)).model).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.requires_grad:
                parameter.copy_(3 * torch.randn(2, 5, generator=generator) + 1)
    inputs, slopes = (3 * torch.randn(2, 12, 5, generator=generator, dtype=torch.float64) + 1 for _ in range(2))
    leaves = [inputs.requires_grad_(), *(weight for weight in layer.parameters() if weight.requires_grad)]
    assert len(leaves) == (3 if settings["affine"] == "true" else 1)
    outputs = layer(inputs)
    groups = torch.split(inputs, ghost or 12, dim=1)
    expected = torch.stack(
        [
            torch.cat([by_hand(group[member], layer.scale[member], layer.shift[member], settings) for group in groups])
            for member in range(2)
        ]
    )
    torch.testing.assert_close(outputs, expected)
    pairs = zip(*(torch.autograd.grad(values, leaves, slopes) for values in (outputs, expected)), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)
    mean, var = torch.zeros(2, 5).double(), torch.ones(2, 5).double()
    for group in groups:
        mean, var = 0.9 * mean + 0.1 * group.mean(1), 0.9 * var + 0.1 * group.var(1)
    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(layer.running_var, var)
    centred = inputs - mean[:, None] * (settings["recentre"] == "true")
    evaluated = centred / (var[:, None] + 1e-5).sqrt() if settings["rescale"] == "true" else centred
    torch.testing.assert_close(layer.eval()(inputs), evaluated * layer.scale[:, None] + layer.shift[:, None])


@pytest.mark.parametrize("position", POSITIONS)
def test_a_network_with_one_ghost_batch_is_one_without(params: Make, position: str) -> None:
    one, none = (
        random_network(params(hidden="8,6", ghost_batch=size, norm_position=position), "batchnorm", 2)
        for size in (str(BATCH), "0")
    )
    images = torch.rand(2, BATCH, 784, dtype=torch.float64)
    assert torch.equal(one(images), none(images))


@pytest.mark.parametrize(("batch", "ghost"), [(7, 0), (60, 0), (60, 16), (300, 0), (600, 280)])
@pytest.mark.parametrize("settings", INGREDIENTS, ids=lambda settings: "-".join(settings.values()))
def test_a_member_of_any_batch_normalization_is_to_the_byte_what_it_is_alone(
    params: Make, settings: dict[str, str], batch: int, ghost: int
) -> None:
    model = params(**settings, ghost_batch=str(ghost)).model
    generator = torch.Generator().manual_seed(0)
    images = 3 * torch.randn(5, batch, 33, generator=generator) + 1
    together = trained_once(BatchNorm(5, 33, model), images)
    for member in range(5):
        alone = trained_once(BatchNorm(1, 33, model), images[member : member + 1])
        assert all(torch.equal(values[member], own[0]) for values, own in zip(together, alone, strict=True))


def trained_once(layer: BatchNorm, images: Tensor) -> list[Tensor]:
    """The outputs, all gradients and the statistics, and then what evaluation makes of the images."""
    images = images.clone().requires_grad_()
    leaves = [images, *(weight for weight in layer.parameters() if weight.requires_grad)]
    outputs = layer(images)
    gradients = torch.autograd.grad(outputs.sin().sum(), leaves)
    return [outputs, *gradients, *layer.buffers(), layer.eval()(images)]


# What does not fit


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_the_defaults_fit_every_variant(params: Make, variant: Variant) -> None:
    check_variant(variant, params().model)


@pytest.mark.parametrize(
    ("variant", "settings", "told"),
    [
        (
            "groupnorm",
            {"hidden": "8,6"},
            "model.groups = 4: groupnorm cannot divide 6 units into equal groups",
        ),
        (
            "weightnorm",
            {"norm_position": "before_activation"},
            "weightnorm: has no position, because it normalises weights; model.norm_position should be "
            "after_activation",
        ),
    ],
)
def test_an_architecture_that_cannot_have_the_variant_is_refused_in_one_line(
    params: Make, variant: Variant, settings: dict[str, str], told: str
) -> None:
    with pytest.raises(UserError) as caught:
        check_variant(variant, params(**settings).model)
    assert str(caught.value) == told
    for other in ("plain", "batchnorm", "layernorm", "rmsnorm"):
        check_variant(other, params(**settings).model)
