"""The network in PyTorch's own layers computes what the pipeline's computes, for every normalisation and position."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from pipeline.network.perceptron import Perceptron
from pipeline.params import Params, Variant
from pipeline.records.sequential import to_sequential
from tests.samples import KINDS


@pytest.mark.parametrize(("variant", "position"), KINDS)
@pytest.mark.parametrize("more", [{}, {"binary_input": "true", "activation": "relu"}, {"activation": "tanh"}])
def test_its_logits_are_the_pipelines(
    variant: Variant, position: str, more: dict[str, str], params: Callable[..., Params]
) -> None:
    model = params(hidden="20,12", groups="4", norm_position=position, noise="true", **more).model
    network = Perceptron(model, variant, seeds=[3])
    images = torch.rand(50, 28, 28, generator=torch.Generator().manual_seed(0))
    network(images.flatten(1))  # which moves the running statistics
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.rand(parameter.shape, generator=torch.Generator().manual_seed(1)) / 10)
    network.eval()
    sequential = to_sequential(network)
    assert type(sequential) is nn.Sequential
    assert not sequential.training
    with torch.no_grad():
        torch.testing.assert_close(sequential(images), network(images.flatten(1))[0], rtol=1e-4, atol=1e-5)


def test_it_is_a_copy(params: Callable[..., Params]) -> None:
    network = Perceptron(params(hidden="5").model, "plain", seeds=[3]).eval()
    before = network(torch.ones(1, 784))[0].detach().clone()
    for parameter in to_sequential(network).parameters():
        parameter.data.zero_()
    torch.testing.assert_close(network(torch.ones(1, 784))[0], before)
