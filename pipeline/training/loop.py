"""The one training loop: epoch by epoch, with checkpoints and reports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.data.dataset import Examples
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.measure import Measure, Probing
from pipeline.training.part import PartTraining, section_of
from pipeline.training.population import Population


@dataclass(frozen=True)
class Trained:
    """The results of a training, on the CPU and with the members first.

    Attributes:
        weights: The networks' final state by PyTorch's names, [members, ...] each.
        loss: The training loss of every batch before the step that it causes [members, iterations], in nats.
        measured: The measurements before the first epoch and after each, [members, epochs + 1, ...].
        probed: The measurements within epochs, [members, steps, ...].
    """

    weights: dict[str, Tensor]
    loss: Tensor
    measured: dict[str, Tensor]
    probed: dict[str, Tensor]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle arrays, because PyTorch would send each tensor to another process as a file that stays open."""
        return _from_arrays, tuple(_map(Tensor.numpy, part) for part in vars(self).values())

    @classmethod
    def join(cls, parts: Sequence["Trained"]) -> "Trained":
        """Return the results of all members of some parts, in this order."""
        first = parts[0]
        return cls(
            weights={name: torch.cat([part.weights[name] for part in parts]) for name in first.weights},
            loss=torch.cat([part.loss for part in parts]),
            measured={name: torch.cat([part.measured[name] for part in parts]) for name in first.measured},
            probed={name: torch.cat([part.probed[name] for part in parts]) for name in first.probed},
        )


def _from_arrays(*parts: Any) -> Trained:
    return Trained(*(_map(torch.from_numpy, part) for part in parts))


def _map(function: Callable[[Any], Any], part: Any) -> Any:
    """Apply a function to a tensor or array, or to each of a dictionary's."""
    return {name: function(value) for name, value in part.items()} if isinstance(part, dict) else function(part)


@dataclass(frozen=True)
class Epoch:
    """What can be shown of a training when an epoch is completed.

    Attributes:
        seeds: The members.
        number: The number of completed epochs.
        train_loss: Each member's mean over the epoch, in nats.
        measured: The measurements after the epoch that are one number for each member, such as `accuracy`.
    """

    seeds: tuple[int, ...]
    number: int
    train_loss: tuple[float, ...]
    measured: dict[str, tuple[float, ...]]


OnEpoch = Callable[[Epoch], object]


def fit(
    population: Population,
    examples: Examples,
    measure: Measure | None = None,
    *,
    probing: Probing | None = None,
    checkpoint: Checkpoint | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Train the members of a population, all at once.

    Args:
        population: The networks to train, few enough for the memory.
        examples: The training images, whose device computes everything.
        measure: Called before the first epoch and after each, with the network in evaluation mode, without gradients.
        probing: A measurement to take within epochs.
        checkpoint: Where to save the state now and then, and at the end. If it holds a state, training continues from
            there, with the same results as an uninterrupted training.
        on_epoch: Called after every epoch, and for the last one that a checkpoint restores.
    """
    training = PartTraining(population, examples, measure, probing)
    saved = checkpoint.load() if checkpoint else None
    if saved:
        training.restore(saved)
        if on_epoch:
            on_epoch(_report(training))
    while training.epoch < population.train.epochs:
        training.run_epoch()
        finished = training.epoch == population.train.epochs
        if checkpoint and (finished or checkpoint.is_due()):
            checkpoint.save(training.state(), finished)
        if on_epoch:
            on_epoch(_report(training))
    state = training.state()
    return Trained(
        weights=section_of(state, "weights"),
        loss=state["loss"],
        measured=section_of(state, "measured"),
        probed=section_of(state, "probed"),
    )


def _report(training: PartTraining) -> Epoch:
    iterations = -(-len(training.examples) // training.population.train.batch_size)
    latest = section_of({name: values[-1] for name, values in training.histories.items()}, "measured")
    return Epoch(
        training.population.seeds,
        training.epoch,
        tuple(training.losses[-1][:, -iterations:].mean(1).tolist()),
        {name: tuple(values.tolist()) for name, values in latest.items() if values.dim() == 1},
    )
