"""The optimizers, for the weights of all members at once."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from pipeline.params import Train


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with PyTorch's defaults for everything but the learning rate.

    It calls PyTorch's functional form: constructing one of PyTorch's optimizer classes imports the compiler, which
    takes 3 seconds.

    Attributes:
        state: Every tensor that a checkpoint must hold: the first moments, the second moments and the step counts.
    """

    def __init__(self, weights: list[Tensor], train: Train) -> None:
        self.weights = weights
        self.lr = train.lr
        self.first = [torch.zeros_like(weight) for weight in weights]
        self.second = [torch.zeros_like(weight) for weight in weights]
        self.steps = [torch.zeros((), device=weight.device) for weight in weights]
        self.state = [*self.first, *self.second, *self.steps]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Update the weights in place by their gradients, one tensor for each weight."""
        adam(
            self.weights,
            list(gradients),
            self.first,
            self.second,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=0,
            eps=1e-8,
            maximize=False,
        )


class SGD:
    """Gradient descent with momentum by PyTorch's rule: v = momentum·v + gradient, w = w - lr·v.

    Attributes:
        state: Every tensor that a checkpoint must hold: the velocities v.
    """

    def __init__(self, weights: list[Tensor], train: Train) -> None:
        self.weights = weights
        self.train = train
        self.state = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Update the weights in place by their gradients, one tensor for each weight."""
        torch._foreach_mul_(self.state, self.train.momentum)
        torch._foreach_add_(self.state, list(gradients))
        torch._foreach_add_(self.weights, self.state, alpha=-self.train.lr)


OPTIMIZERS: dict[str, type[Adam] | type[SGD]] = {"adam": Adam, "sgd": SGD}
