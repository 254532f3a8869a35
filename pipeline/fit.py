"""The one training loop: a population of members, each trained as if it were alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.optim.adam import adam

from pipeline.data import Examples, batch_order
from pipeline.errors import UserError
from pipeline.model import Observer, Perceptron
from pipeline.params import Model, Train, Variant

# Members computed together, times images per batch. Above this the batches no longer fit the processor's
# caches and members are faster one after another; below it, one product for all members is (`make bench`).
ROWS_AT_ONCE = 4000
MEMBERS_AT_ONCE = 16  # bounds memory where batches are small

Measure = Callable[[Perceptron], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Population:
    """A description, in plain values, of networks to be trained: one for each seed."""

    variant: Variant
    model: Model
    train: Train
    seeds: tuple[int, ...]

    def network(self) -> Perceptron:
        """Return the untrained members."""
        return Perceptron(self.model, self.variant == "batchnorm", self.seeds)

    def parts(self) -> Iterator["Population"]:
        """Split into populations small enough to compute at once."""
        size = max(1, min(MEMBERS_AT_ONCE, ROWS_AT_ONCE // self.train.batch_size))
        for start in range(0, len(self.seeds), size):
            yield Population(self.variant, self.model, self.train, self.seeds[start : start + size])


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    weights: the network's state, every tensor with the members first.
    loss: [members, iterations], the training loss of every batch before the step that it caused.
    measured: what `measure` returned before the first epoch and after each, stacked: [members, epochs + 1, ...].
    """

    weights: dict[str, Tensor]
    loss: Tensor
    measured: dict[str, Tensor]


def prepare(device: str, threads: int | str) -> torch.device:
    """Set the threads, and flush denormal numbers, which saturated sigmoids make and which are slow.

    Raises:
        UserError: CUDA is asked for and not there.
    """
    torch.set_num_threads(min(8, torch.get_num_threads()) if threads == "auto" else int(threads))
    torch.set_flush_denormal(True)
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device = 'cuda': PyTorch finds no CUDA device here; use 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def fit(
    population: Population, examples: Examples, measure: Measure, advance: Callable[[int], object] | None = None
) -> Trained:
    """Train every member of `population` on `examples`.

    `measure` maps the network, in evaluation mode and without gradients, to tensors with the members first.
    `advance` is told, epoch by epoch, how many members have finished one.
    """
    parts = [_fit_part(part, examples, measure, advance) for part in population.parts()]
    return Trained(
        weights=_join([part.weights for part in parts]),
        loss=torch.cat([part.loss for part in parts]),
        measured=_join([part.measured for part in parts]),
    )


def _fit_part(
    population: Population, examples: Examples, measure: Measure, advance: Callable[[int], object] | None
) -> Trained:
    network = population.network().to(examples.images.device)
    weights: list[Tensor] = list(network.parameters())
    step = _stepper(weights, population.train)
    losses: list[Tensor] = []
    measured = [_measure(network, measure)]
    for epoch in range(population.train.epochs):
        for images, labels in _batches(population, examples, epoch):
            loss = member_losses(network(images), labels)
            step(torch.autograd.grad(loss.sum(), weights))
            losses.append(loss.detach())
        measured.append(_measure(network, measure))
        if advance:
            advance(len(population.seeds))
    history = {name: torch.stack([m[name] for m in measured], dim=1).cpu() for name in measured[0]}
    return Trained(
        {name: tensor.cpu() for name, tensor in network.state_dict().items()},
        torch.stack(losses, dim=1).cpu(),
        history,
    )


def member_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy [members] of logits [members, batch, classes] and labels [members, batch]."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).mean(1)


def predict(network: Perceptron, images: Tensor, batch_size: int, observe: Observer | None = None) -> Tensor:
    """Logits [members, count, classes] of images [count, 784], in batches of at most `batch_size`."""
    return torch.cat([network(batch, observe) for batch in torch.split(images, batch_size)], dim=1)


def score(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """`loss` and `accuracy` [members] of logits [members, count, classes] for labels [count]."""
    shared = labels.expand(len(logits), -1)
    return {
        "loss": member_losses(logits, shared),
        "accuracy": (logits.argmax(2) == shared).double().mean(1),
    }


def _batches(population: Population, examples: Examples, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image once, in each member's own order; the last batch may be smaller.

    Images [members, batch, 784] lie in one buffer, which the next batch overwrites.
    """
    orders = torch.stack([batch_order(seed, len(examples), epoch) for seed in population.seeds])
    size = len(population.seeds) * min(population.train.batch_size, len(examples))
    buffer = examples.images.new_empty(size, examples.images.shape[1])
    for chosen in torch.split(orders.to(examples.labels.device), population.train.batch_size, dim=1):
        images = buffer[: chosen.numel()]
        torch.index_select(examples.images, 0, chosen.flatten(), out=images)
        yield images.view(*chosen.shape, -1), examples.labels[chosen]


def _measure(network: Perceptron, measure: Measure) -> Mapping[str, Tensor]:
    network.eval()
    with torch.no_grad():
        measured = measure(network)
    network.train()
    return measured


def _stepper(weights: list[Tensor], train: Train) -> Callable[[Sequence[Tensor]], None]:
    """Return the optimizer's step as a function of the gradients.

    PyTorch's functional form: its optimizer classes import the compiler when made, which takes 3 seconds.
    """
    first = [torch.zeros_like(weight) for weight in weights]
    second = [torch.zeros_like(weight) for weight in weights]
    steps = [torch.zeros((), device=weight.device) for weight in weights]

    @torch.no_grad()
    def step_adam(gradients: Sequence[Tensor]) -> None:
        adam(
            weights,
            list(gradients),
            first,
            second,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=train.lr,
            weight_decay=0,
            eps=1e-8,
            maximize=False,
        )

    @torch.no_grad()
    def step_sgd(gradients: Sequence[Tensor]) -> None:
        torch._foreach_mul_(first, train.momentum)
        torch._foreach_add_(first, list(gradients))
        torch._foreach_add_(weights, first, alpha=-train.lr)

    return step_adam if train.optimizer == "adam" else step_sgd


def _join(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
