"""A trained network in PyTorch's own layers, which need nothing of this project."""

import torch
from torch import Tensor, nn

from pipeline.network.layers import Linear
from pipeline.network.normalisation import EPSILON, BatchNorm, GroupNorm, RMSNorm
from pipeline.network.perceptron import ACTIVATIONS, Perceptron

_ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


class Binary(nn.Module):
    """Pixels above 1/2 become 1, the others 0."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the pixels, of any shape."""
        return (images > 0.5).to(images.dtype)


@torch.no_grad()
def to_sequential(network: Perceptron) -> nn.Sequential:
    """Return the first member of a network: images [batch, 784] or [batch, 28, 28], from 0 to 1, to logits [batch, 10].

    It is in evaluation mode, in which noise does nothing, and shares no memory with the network.
    """
    kind = next(name for name, function in ACTIVATIONS.items() if function is network.function)
    layers: list[nn.Module] = [nn.Flatten(), *([Binary()] if network.binary else [])]
    for number, linear in enumerate(network.linears[:-1]):
        norms = [_norm(norm) for norm in list(network.norms)[number : number + 1]]
        function = _ACTIVATIONS[kind]()
        layers += [_linear(linear), *([*norms, function] if network.before else [function, *norms])]
    return nn.Sequential(*layers, _linear(network.linears[-1])).eval()


def _linear(linear: nn.Module) -> nn.Linear:
    if not isinstance(linear, Linear):
        raise TypeError(f"no layer of PyTorch for {linear}")
    weight = linear.matrix()[0]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": linear.bias[0]})
    return layer


def _norm(norm: nn.Module) -> nn.Module:
    if isinstance(norm, BatchNorm):
        batch = nn.BatchNorm1d(norm.scale.shape[1], EPSILON)
        statistics = {"running_mean": norm.running_mean[0], "running_var": norm.running_var[0]}
        batch.load_state_dict({**batch.state_dict(), **statistics, "weight": norm.scale[0], "bias": norm.shift[0]})
        return batch
    if isinstance(norm, GroupNorm):
        group = nn.GroupNorm(norm.groups, norm.scale.shape[1], EPSILON)
        group.load_state_dict({"weight": norm.scale[0], "bias": norm.shift[0]})
        return group
    if isinstance(norm, RMSNorm):
        rms = nn.RMSNorm(norm.scale.shape[1])
        rms.load_state_dict({"weight": norm.scale[0]})
        return rms
    raise TypeError(f"no layer of PyTorch for {norm}")
