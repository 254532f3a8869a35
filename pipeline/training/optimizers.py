"""The optimizers, of all members' weights at once. `state` is what a training must keep to go on as it was."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from pipeline.params import Train


class Adam:
    """Adam in PyTorch's functional form: its optimizer classes import the compiler when made, which takes 3 seconds."""

    def __init__(self, weights: list[Tensor], train: Train) -> None:
        self.weights = weights
        self.lr = train.lr
        self.first = [torch.zeros_like(weight) for weight in weights]
        self.second = [torch.zeros_like(weight) for weight in weights]
        self.steps = [torch.zeros((), device=weight.device) for weight in weights]
        self.state = [*self.first, *self.second, *self.steps]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the weights by their gradients."""
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
    """Gradient descent with PyTorch's momentum."""

    def __init__(self, weights: list[Tensor], train: Train) -> None:
        self.weights = weights
        self.train = train
        self.state = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the weights by their gradients."""
        torch._foreach_mul_(self.state, self.train.momentum)
        torch._foreach_add_(self.state, list(gradients))
        torch._foreach_add_(self.weights, self.state, alpha=-self.train.lr)


OPTIMIZERS: dict[str, type[Adam] | type[SGD]] = {"adam": Adam, "sgd": SGD}
