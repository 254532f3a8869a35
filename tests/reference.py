"""The network of one seed and its optimizer as a tutorial would write them, with PyTorch's own classes."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from pipeline.network.perceptron import Perceptron, widths
from pipeline.params import Model, Train, Variant

FUNCTIONS: dict[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
NORMS: dict[Variant, Callable[[int, Model], nn.Module]] = {
    "batchnorm": lambda units, _: nn.BatchNorm1d(units),
    "layernorm": lambda units, _: nn.LayerNorm(units),
    "groupnorm": lambda units, model: nn.GroupNorm(model.groups, units),
    "rmsnorm": lambda units, _: nn.RMSNorm(units),
}
# Names of parameters: PyTorch's, in a module of a kind, and the project's.
LINEAR = {
    "weight": "weight",
    "bias": "bias",
    "parametrizations.weight.original0": "length",
    "parametrizations.weight.original1": "weight",
}
NORM = {"weight": "scale", "bias": "shift"}


def reference(model: Model, variant: Variant, seed: int) -> nn.Sequential:
    """Return the untrained network of one seed."""
    layers: list[nn.Module] = []
    *hidden, last = pairwise(widths(model))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for inputs, units in hidden:
            linear = nn.Linear(inputs, units)
            layers += [weight_norm(linear) if variant == "weightnorm" else linear, FUNCTIONS[model.activation]()]
            if variant in NORMS:
                place = len(layers) - (model.norm_position == "before_activation")
                layers.insert(place, NORMS[variant](units, model))
        layers.append(nn.Linear(*last))
    return nn.Sequential(*layers)


def optimizer(train: Train, weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of these settings."""
    match train.optimizer:
        case "adam":
            return torch.optim.Adam(weights, lr=train.lr)
        case "adamw":
            return torch.optim.AdamW(weights, lr=train.lr, weight_decay=train.weight_decay)
        case "rmsprop":
            return torch.optim.RMSprop(weights, lr=train.lr)
        case "sgd":
            return torch.optim.SGD(weights, lr=train.lr, momentum=train.momentum)


def parameters(network: nn.Sequential) -> dict[str, nn.Parameter]:
    """Return the parameters by the names that `Perceptron` gives them."""
    linears = [module for module in network if isinstance(module, nn.Linear)]
    norms = [module for module in network if not isinstance(module, nn.Linear) and list(module.parameters())]
    return {
        f"{kind}.{number}.{ours[name]}": parameter
        for kind, modules, ours in (("linears", linears, LINEAR), ("norms", norms, NORM))
        for number, module in enumerate(modules)
        for name, parameter in module.named_parameters()
    }


def copy(network: Perceptron, member: int, into: nn.Sequential) -> None:
    """Copy one member's parameters."""
    ours = dict(network.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters(into).items():
            parameter.copy_(ours[name][member])
