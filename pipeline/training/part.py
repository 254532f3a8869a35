"""The training of one part of a population: its members share a tensor program, yet train as if each were alone."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pipeline.data.dataset import Examples, batch_order
from pipeline.network.metrics import member_losses
from pipeline.training.joined_weights import JoinedWeights
from pipeline.training.measure import Measure, Probing
from pipeline.training.optimizers import OPTIMIZERS
from pipeline.training.population import Population


class PartTraining:
    """The members of one part while they train: everything that changes from step to step.

    On CUDA no step waits for the device: losses and measurements stay there until `state` is called.

    Attributes:
        epoch: The number of completed epochs.
        losses: The training losses of every completed epoch [members, iterations], before each step.
        histories: Every measurement so far by name, each [members, ...], such as `measured.loss` or `probed.loss`.
    """

    def __init__(
        self,
        population: Population,
        examples: Examples,
        measure: Measure | None = None,
        probing: Probing | None = None,
    ) -> None:
        """Build the untrained members on the device of `examples`, and take the first measurements.

        Args:
            population: The members, few enough to be trained at once.
            examples: The training images.
            measure: Called now and after every epoch, with the network in evaluation mode, without gradients.
            probing: A measurement to take within epochs.
        """
        self.population = population
        self.examples = examples
        self.network = population.network().to(examples.images.device)
        self.weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        self.joined = JoinedWeights(self.weights)
        self.optimizer = OPTIMIZERS[population.train.optimizer](self.joined.tensors, population.train)
        self.epoch = 0
        self.losses: list[Tensor] = []
        self.histories: dict[str, list[Tensor]] = {}
        self._probing = probing
        self._measures = {"measured": measure, "probed": probing.measure if probing else None}
        for section in self._measures:
            self._measure(section)

    def run_epoch(self) -> None:
        """Train every member on each image once."""
        losses: list[Tensor] = []
        before = sum(epoch.shape[1] for epoch in self.losses)
        for images, labels in _batches(self.population, self.examples, self.epoch):
            loss = member_losses(self.network(images), labels)
            self.optimizer.step(self.joined.join(torch.autograd.grad(loss.sum(), self.weights)))
            losses.append(loss.detach())
            if self._probing and before + len(losses) in self._probing.steps:
                self._measure("probed")
        self.losses.append(torch.stack(losses, dim=1))
        self.epoch += 1
        self._measure("measured")

    def state(self) -> dict[str, Tensor]:
        """Return everything that the training needs in order to continue, on the CPU.

        Returns:
            `weights.*` and `optimizer.*`; `loss` [members, iterations]; the measurements, stacked to
            [members, measurements, ...]; and `epoch`.
        """
        state = {f"weights.{name}": tensor for name, tensor in self.network.state_dict().items()}
        state |= {f"optimizer.{index}": tensor for index, tensor in enumerate(self.optimizer.state)}
        state |= {name: torch.stack(values, dim=1) for name, values in self.histories.items()}
        state |= {"loss": torch.cat(self.losses, dim=1), "epoch": torch.tensor(self.epoch)}
        return {name: tensor.cpu() for name, tensor in state.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state, as `state` returns it."""
        device = self.examples.images.device
        self.network.load_state_dict(section_of(state, "weights"))
        for index, tensor in enumerate(self.optimizer.state):
            tensor.copy_(state[f"optimizer.{index}"])
        self.histories = {name: list(state[name].to(device).unbind(1)) for name in self.histories}
        self.losses = [state["loss"].to(device)]
        self.epoch = int(state["epoch"])

    def _measure(self, section: str) -> None:
        measure = self._measures[section]
        if measure is None:
            return
        self.network.eval()
        with torch.no_grad():
            for name, values in measure(self.network).items():
                self.histories.setdefault(f"{section}.{name}", []).append(values)
        self.network.train()


def section_of(state: Mapping[str, Tensor], section: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `section.`, without that prefix."""
    return {name.removeprefix(f"{section}."): state[name] for name in state if name.startswith(f"{section}.")}


def _batches(population: Population, examples: Examples, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once, in each member's own order; the last batch may be smaller.

    Yields:
        Images [members, batch, 784], in a buffer that the next batch overwrites, and their labels [members, batch].
    """
    orders = torch.stack([batch_order(seed, len(examples), epoch) for seed in population.seeds])
    size = len(population.seeds) * min(population.train.batch_size, len(examples))
    buffer = examples.images.new_empty(size, examples.images.shape[1])
    for chosen in torch.split(orders.to(examples.labels.device), population.train.batch_size, dim=1):
        images = buffer[: chosen.numel()]
        torch.index_select(examples.images, 0, chosen.flatten(), out=images)
        yield images.view(*chosen.shape, -1), examples.labels[chosen]
