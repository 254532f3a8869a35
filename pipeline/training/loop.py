"""The one training loop: part by part, epoch by epoch, with checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.data.dataset import Examples
from pipeline.network.device import device_memory
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
        probed: The measurements within epochs, [members, iterations // every + 1, ...].
    """

    weights: dict[str, Tensor]
    loss: Tensor
    measured: dict[str, Tensor]
    probed: dict[str, Tensor]


def fit(
    population: Population,
    examples: Examples,
    measure: Measure | None = None,
    *,
    probing: Probing | None = None,
    checkpoint: Checkpoint | None = None,
    advance: Callable[[int], object] | None = None,
) -> Trained:
    """Train every member of a population.

    Args:
        population: The networks to train.
        examples: The training images, whose device computes everything.
        measure: Called before the first epoch and after each, with the network in evaluation mode, without gradients.
        probing: A measurement to take within epochs.
        checkpoint: Where to save the state now and then. If it holds a state, training continues from there, with the
            same results as an uninterrupted training.
        advance: Called after every epoch of a part with its number of members, and once for the epochs that a
            checkpoint restores.
    """
    saved = checkpoint.load() if checkpoint else []
    parts: list[Mapping[str, Tensor]] = []
    for number, part in enumerate(population.parts(device_memory(examples.images.device))):
        training = PartTraining(part, examples, measure, probing)
        if number < len(saved):
            training.restore(saved[number])
            if advance:
                advance(training.epoch * len(part.seeds))
        while training.epoch < part.train.epochs:
            training.run_epoch()
            if checkpoint and checkpoint.is_due():
                checkpoint.save([*parts, training.state()])
            if advance:
                advance(len(part.seeds))
        parts.append(training.state())
    by_member = [name for name in parts[0] if not name.startswith(("optimizer.", "epoch"))]
    joined = {name: torch.cat([part[name] for part in parts]) for name in by_member}
    return Trained(
        weights=section_of(joined, "weights"),
        loss=joined["loss"],
        measured=section_of(joined, "measured"),
        probed=section_of(joined, "probed"),
    )
