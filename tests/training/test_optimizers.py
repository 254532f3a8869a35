"""The optimizers against PyTorch's own, step by step."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pipeline.params import Params
from pipeline.training.optimizers import OPTIMIZERS
from tests.reference import optimizer as reference_optimizer

Make = Callable[..., Params]

SETTINGS = [
    {"optimizer": "adam", "lr": "0.1"},
    {"optimizer": "adamw", "lr": "0.1", "weight_decay": "0.01"},
    {"optimizer": "adamw", "lr": "0.1", "weight_decay": "0.5"},
    {"optimizer": "adamw", "lr": "0.1", "weight_decay": "0"},
    {"optimizer": "rmsprop", "lr": "0.1"},
    {"optimizer": "sgd", "lr": "0.1", "momentum": "0.9"},
    {"optimizer": "sgd", "lr": "0.5", "momentum": "0"},
]


def gradients(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((2, 3, 4), (2, 1, 4))]


@pytest.mark.parametrize("settings", SETTINGS)
def test_steps_are_those_of_pytorch(params: Make, settings: dict[str, str]) -> None:
    train = params(**settings).train
    ours, theirs = gradients(100), [torch.nn.Parameter(weight) for weight in gradients(100)]
    optimizer = OPTIMIZERS[train.optimizer](ours, train)
    reference = reference_optimizer(train, theirs)
    for step in range(5):
        optimizer.step(gradients(step))
        for weight, gradient in zip(theirs, gradients(step), strict=True):
            weight.grad = gradient
        reference.step()
        for mine, weight in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, weight.data, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_state_that_is_restored_goes_on_as_before(params: Make, settings: dict[str, str]) -> None:
    train = params(**settings).train
    weights = gradients(100)
    first = OPTIMIZERS[train.optimizer](weights, train)
    first.step(gradients(0))
    others = [weight.clone() for weight in weights]
    second = OPTIMIZERS[train.optimizer](others, train)
    for tensor, kept in zip(second.state, first.state, strict=True):
        tensor.copy_(kept)
    first.step(gradients(1))
    second.step(gradients(1))
    assert all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))
