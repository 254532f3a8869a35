"""The weights of all members as an optimizer steps them: as tensors of whole vectors of the processor."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pipeline.network.layers import VECTOR


class JoinedWeights:
    """Some weights as they are, and the others as views of one tensor that is padded at its end.

    Together are those whose values for one member are not whole vectors: apart, the last member's last values would be
    rounded differently, and a member's training would depend on the members beside it.

    Attributes:
        tensors: What an optimizer steps.
    """

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self._joined = [weight[0].numel() % VECTOR != 0 for weight in weights]
        apart, together = self._divide(weights)
        self.tensors = [weight.detach() for weight in apart]
        if together:
            flat = _flatten([weight.detach() for weight in together])
            sizes = [weight.numel() for weight in together]
            parts = torch.split(flat, [*sizes, flat.numel() - sum(sizes)])
            for weight, part in zip(together, parts, strict=False):
                weight.data = part.view(weight.shape)
            self.tensors.append(flat)

    def join(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of the weights as gradients of `tensors`."""
        apart, together = self._divide(gradients)
        return [*apart, _flatten(together)] if together else apart

    def _divide(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        pairs = list(zip(tensors, self._joined, strict=True))
        return [tensor for tensor, joined in pairs if not joined], [tensor for tensor, joined in pairs if joined]


def _flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Return the values of some tensors in one, padded with zeros to whole vectors."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    return F.pad(flat, (0, -flat.numel() % VECTOR))
