"""The optimizers, for the weights of all members at once.

They call PyTorch's functional forms: constructing one of PyTorch's optimizer classes imports the compiler, which takes
3 seconds.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from pipeline.params import Train


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with PyTorch's defaults for everything but the learning rate.

    Attributes:
        state: Every tensor that a checkpoint must hold: the first moments, the second moments and the step counts.
    """

    def __init__(self, weights: list[Tensor], train: Train) -> None:
        self.weights = weights
        self.lr = train.lr
        self.decay = 0.0
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
            decoupled_weight_decay=self.decay > 0,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=self.decay,
            eps=1e-8,
            maximize=False,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): w = w - lr·λ·w before Adam's step.

    All weights decay, biases and the parameters of normalisations too, as with PyTorch's default.
    """

    def __init__(self, weights: list[Tensor], train: Train) -> None:
        super().__init__(weights, train)
        self.decay = train.weight_decay


class RMSprop:
    """RMSprop (Hinton 2012, lecture 6e) by PyTorch's rule: s = 0.99·s + 0.01·gradient², w = w - lr·gradient/(√s + ε).

    ε is PyTorch's default, 1e-8; there is no momentum.

    Attributes:
        state: Every tensor that a checkpoint must hold: the mean squares s and the step counts.
    """

    def __init__(self, weights: list[Tensor], train: Train) -> None:
        self.weights = weights
        self.lr = train.lr
        self.squares = [torch.zeros_like(weight) for weight in weights]
        self.steps = [torch.zeros((), device=weight.device) for weight in weights]
        self.state = [*self.squares, *self.steps]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Update the weights in place by their gradients, one tensor for each weight."""
        rmsprop(
            self.weights,
            list(gradients),
            self.squares,
            [],
            [],
            self.steps,
            foreach=True,
            lr=self.lr,
            alpha=0.99,
            eps=1e-8,
            weight_decay=0,
            momentum=0,
            centered=False,
        )


class SGD:
    """Gradient descent with momentum by PyTorch's rule: v = momentum·v + gradient, w = w - lr·v.

    Attributes:
        state: Every tensor that a checkpoint must hold: the velocities v, which stay 0 where momentum is.
    """

    def __init__(self, weights: list[Tensor], train: Train) -> None:
        self.weights = weights
        self.train = train
        self.state = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Update the weights in place by their gradients, one tensor for each weight."""
        on_cpu = self.weights[0].is_cpu  # where one pass over the memory takes half of the time that three take
        sgd(
            self.weights,
            list(gradients),
            list(self.state),
            fused=on_cpu,
            foreach=not on_cpu,
            weight_decay=0,
            momentum=self.train.momentum,
            lr=self.train.lr,
            dampening=0,
            nesterov=False,
            maximize=False,
        )


OPTIMIZERS: dict[str, type[Adam] | type[RMSprop] | type[SGD]] = {
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "sgd": SGD,
}
