"""The gradients that the study of depth measures, against those of networks written out."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, cross_entropy, linear

from pipeline.data.dataset import Examples, Split
from pipeline.network.perceptron import Perceptron
from pipeline.params import VARIANTS, Params, Variant
from studies.depth import probe as depth
from tests.samples import population

SETTINGS = {"hidden": "7,6,5", "seeds": "3,1", "batch_size": "16"}

Make = Callable[..., Params]
Images = Callable[..., Examples]


@pytest.fixture
def split(examples: Images) -> Split:
    return Split(examples(50), examples(40, seed=1), examples(30, seed=2))


def gradients(network: Perceptron, member: int, examples: Examples) -> list[Tensor]:
    """The gradients of one member over the weights of its hidden layers, normalised by the batch's statistics."""
    state = {name: tensor[member].double().requires_grad_() for name, tensor in network.state_dict().items()}
    hidden, count = examples.images.double(), len(network.hidden)
    for layer in range(count):
        hidden = linear(hidden, state[f"linears.{layer}.weight"], state[f"linears.{layer}.bias"]).sigmoid()
        if network.norms:
            parts = (state[f"norms.{layer}.{name}"] for name in ("scale", "shift"))
            hidden = batch_norm(hidden, None, None, *parts, training=True, eps=1e-5)
    logits = linear(hidden, state[f"linears.{count}.weight"], state[f"linears.{count}.bias"])
    weights = [state[f"linears.{layer}.weight"] for layer in range(count)]
    return [*torch.autograd.grad(cross_entropy(logits, examples.labels), weights)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_are_those_of_one_batch_normalised_as_in_training(
    params: Make, split: Split, variant: Variant
) -> None:
    described = population(params(**SETTINGS), variant)
    network = described.network().eval()
    with torch.no_grad():
        measured = depth.probe(described, split)(network)
    assert measured["layers"].shape == (2, 3)
    for member in range(2):
        sizes = [float(gradient.square().mean().sqrt()) for gradient in gradients(network, member, split.train)]
        assert measured["layers"][member].tolist() == pytest.approx(sizes)
        assert float(measured["first"][member]) == pytest.approx(sizes[0])
        assert float(measured["last"][member]) == pytest.approx(sizes[-1])
        ratio = torch.tensor(sizes[0] / sizes[-1]).log10()
        assert float(measured["log_ratio"][member]) == pytest.approx(float(ratio), abs=1e-6)


def test_a_gradient_that_vanishes_in_float32_is_measured(params: Make, split: Split) -> None:
    deep = params(**SETTINGS | {"hidden": ",".join(["100"] * 64), "seeds": "3"})
    described = population(deep, "plain")
    network = described.network().eval()
    with torch.no_grad():
        measured = depth.probe(described, split)(network)
    assert -70 < float(measured["log_ratio"]) < -40  # float32 ends at -45
    assert all(weight.dtype == torch.float32 for weight in network.parameters())
