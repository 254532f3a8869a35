"""What training, measurements and records need of a network, so that another can stand in the perceptron's place."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from pipeline.network.normalisation import BatchNorm

Side = Literal["input", "output"] | None
Observer = Callable[[str, Tensor], None]  # receives the name and values of a hidden tensor, [members, batch, units]


@dataclass(frozen=True)
class HiddenTensor:
    """A tensor that a network computes on its way to the logits.

    Attributes:
        name: `layer`, its number from 1, a dot, and `pre_activation`, `activation` or `normalised`.
        units: Its values per image.
        side: `input` if an activation function follows in its layer, `output` if it is the function's output, and None
            if nothing that could saturate follows.
    """

    name: str
    units: int
    side: Side


class Network(nn.Module, ABC):
    """Networks of one architecture, computed together: the members.

    Members never influence one another. All that a network learns or counts is in its parameters and buffers, each
    with the members first.
    """

    @abstractmethod
    def forward(self, images: Tensor, observe: Observer | None = None) -> Tensor:
        """Compute the logits.

        Args:
            images: [members, batch, 784], or [batch, 784] shared by all members.
            observe: Receives every hidden tensor as soon as it is computed.

        Returns:
            Logits [members, batch, 10].
        """

    @abstractmethod
    def hidden_tensors(self) -> tuple[HiddenTensor, ...]:
        """Return the hidden tensors in the order in which they are computed."""

    @contextlib.contextmanager
    def batch_statistics(self) -> Iterator[None]:
        """Normalise by each batch's own statistics within the context; on leaving, restore the running statistics."""
        norms = self._batch_norms()
        with self.restored_statistics():
            try:
                for norm in norms:
                    norm.train()
                yield
            finally:
                for norm in norms:
                    norm.train(self.training)

    @contextlib.contextmanager
    def restored_statistics(self) -> Iterator[None]:
        """Restore the running statistics on leaving the context."""
        buffers = [buffer for norm in self._batch_norms() for buffer in norm.buffers()]
        saved = [buffer.clone() for buffer in buffers]
        try:
            yield
        finally:
            for buffer, values in zip(buffers, saved, strict=True):
                buffer.copy_(values)

    def _batch_norms(self) -> list[BatchNorm]:
        return [module for module in self.modules() if isinstance(module, BatchNorm)]
