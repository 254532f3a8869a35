"""The one training loop: a population of members, each trained as if it were alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.data.dataset import Examples, batch_order
from pipeline.network.device import memory
from pipeline.network.metrics import member_losses
from pipeline.network.perceptron import Perceptron
from pipeline.training.optimizers import OPTIMIZERS
from pipeline.training.population import Population

Measure = Callable[[Perceptron], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Watch:
    """What is measured within epochs: before the first iteration, and after every `every` of them."""

    every: int
    measure: Measure


class Checkpoint(Protocol):
    """Where a population is kept while it trains."""

    def read(self) -> Sequence[Mapping[str, Tensor]]:
        """Return the states of its parts that were kept last, finished ones first; none if nothing was kept."""

    def due(self) -> bool:
        """Return whether it is time to keep them; is asked after every epoch."""

    def write(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        """Keep them."""


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    weights: the network's state, every tensor with the members first.
    loss: [members, iterations], the training loss of every batch before the step that it caused.
    measured: what `measure` returned before the first epoch and after each, stacked: [members, epochs + 1, ...].
    watched: likewise, what `watch` measured: [members, iterations // every + 1, ...].
    """

    weights: dict[str, Tensor]
    loss: Tensor
    measured: dict[str, Tensor]
    watched: dict[str, Tensor]


def fit(
    population: Population,
    examples: Examples,
    measure: Measure,
    advance: Callable[[int], object] | None = None,
    *,
    watch: Watch | None = None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train every member of `population` on `examples`.

    `measure` and `watch` map the network, in evaluation mode and without gradients, to tensors with the members
    first. `advance` is told, epoch by epoch, how many members have finished one. With a `checkpoint`, training
    goes on where it was when the last state was written, and gives what it would have given undisturbed.

    On CUDA no step waits for the device: losses and measurements stay there until the part is trained.
    """
    kept = checkpoint.read() if checkpoint else []
    parts: list[Mapping[str, Tensor]] = []
    for number, part in enumerate(population.parts(memory(examples.images.device))):
        training = _Training(part, examples, measure, watch)
        if number < len(kept):
            training.restore(kept[number])
            if advance:
                advance(training.epoch * len(part.seeds))
        while training.epoch < part.train.epochs:
            training.run_epoch()
            if checkpoint and checkpoint.due():
                checkpoint.write([*parts, training.state()])
            if advance:
                advance(len(part.seeds))
        parts.append(training.state())
    by_member = [name for name in parts[0] if not name.startswith(("optimizer.", "epoch"))]
    whole = {name: torch.cat([part[name] for part in parts]) for name in by_member}
    return Trained(_named("weights", whole), whole["loss"], _named("measured", whole), _named("watched", whole))


class _Training:
    """The members of one part while they train: all that changes from step to step."""

    def __init__(self, population: Population, examples: Examples, measure: Measure, watch: Watch | None) -> None:
        self.population = population
        self.examples = examples
        self.network = population.network().to(examples.images.device)
        self.weights: list[Tensor] = list(self.network.parameters())
        self.optimizer = OPTIMIZERS[population.train.optimizer](self.weights, population.train)
        self.epoch = 0
        self.losses: list[Tensor] = []  # of every epoch, [members, iterations]
        self.histories: dict[str, list[Tensor]] = {}
        self.measures = {"measured": measure, "watched": watch.measure} if watch else {"measured": measure}
        self.every = watch.every if watch else None
        for name in self.measures:
            self.measure(name)

    def run_epoch(self) -> None:
        losses: list[Tensor] = []
        before = sum(epoch.shape[1] for epoch in self.losses)
        for images, labels in _batches(self.population, self.examples, self.epoch):
            loss = member_losses(self.network(images), labels)
            self.optimizer.step(torch.autograd.grad(loss.sum(), self.weights))
            losses.append(loss.detach())
            if self.every and (before + len(losses)) % self.every == 0:
                self.measure("watched")
        self.losses.append(torch.stack(losses, dim=1))
        self.epoch += 1
        self.measure("measured")

    def measure(self, name: str) -> None:
        self.network.eval()
        with torch.no_grad():
            for what, values in self.measures[name](self.network).items():
                self.histories.setdefault(f"{name}.{what}", []).append(values)
        self.network.train()

    def state(self) -> dict[str, Tensor]:
        """Everything, on the processor, the members first where there are any."""
        state = {f"weights.{name}": tensor for name, tensor in self.network.state_dict().items()}
        state |= {f"optimizer.{at}": tensor for at, tensor in enumerate(self.optimizer.state)}
        state |= {name: torch.stack(values, dim=1) for name, values in self.histories.items()}
        state |= {"loss": torch.cat(self.losses, dim=1), "epoch": torch.tensor(self.epoch)}
        return {name: tensor.cpu() for name, tensor in state.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        device = self.examples.images.device
        self.network.load_state_dict(_named("weights", state))
        for at, tensor in enumerate(self.optimizer.state):
            tensor.copy_(state[f"optimizer.{at}"])
        self.histories = {name: list(state[name].to(device).unbind(1)) for name in self.histories}
        self.losses = [state["loss"].to(device)]
        self.epoch = int(state["epoch"])


def _named(section: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{section}."): state[name] for name in state if name.startswith(f"{section}.")}


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
