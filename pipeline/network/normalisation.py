"""The normalisations by their word: of activations, as layers of their own, or of weights, as other affine maps.

On one thread of a CPU, a member's results do not depend on the members beside it, to the last bit.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.network.layers import VECTOR, Linear
from pipeline.params import Model, Variant

EPSILON = 1e-5  # PyTorch's, of all but RMSNorm
MOMENTUM = 0.1
MANY = 256  # rows from which Batch Normalization of a whole batch is as fast for one member after another


class BatchNorm(nn.Module):
    """Batch Normalization (Ioffe & Szegedy 2015, algorithm 1) of every unit of every member.

    Training normalises by the batch's mean and biased variance. Evaluation normalises by the running statistics, which
    training updates by PyTorch's rule `running = 0.9 running + 0.1 batch`, with the unbiased variance.

    With `model.ghost_batch`, training treats so many neighbouring images after another as a batch of their own, whose
    statistics update the running ones in turn (Hoffer et al. 2017, section 4). Without `model.recentre` no mean is
    subtracted, and without `model.rescale` no deviation is divided by, as Zhang & Sennrich 2019 call these two steps.

    Attributes:
        scale, shift: γ and β [members, units]: learned or, without `model.affine`, 1 and 0.
        running_mean, running_var: The running statistics [members, units].
    """

    def __init__(self, members: int, units: int, model: Model) -> None:
        super().__init__()
        self.ghost_batch, self.recentre, self.rescale = model.ghost_batch, model.recentre, model.rescale
        self.scale = nn.Parameter(torch.ones(members, units), requires_grad=model.affine)
        self.shift = nn.Parameter(torch.zeros(members, units), requires_grad=model.affine)
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(members, units))
        self.register_buffer("running_var", torch.ones(members, units))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise `inputs` [members, batch, units] over the batch, then scale and shift them; the shape stays."""
        if self.training and self.ghost_batch:
            return torch.cat(
                [self._normalise_batch(ghost) for ghost in torch.split(inputs, self.ghost_batch, dim=1)], dim=1
            )
        return self._normalise_batch(inputs)

    def _normalise_batch(self, inputs: Tensor) -> Tensor:
        members, batch, units = inputs.shape
        parts = (self.running_mean, self.running_var, self.scale, self.shift)
        if inputs.device.type == "cpu" and batch >= MANY and not self.ghost_batch:
            columns = [self._normalise(*of_member) for of_member in zip(inputs, *parts, strict=True)]
            return columns[0].unsqueeze(0) if members == 1 else torch.stack(columns)
        joined = inputs.transpose(0, 1).reshape(batch, members * units)
        missing = -joined.shape[1] % VECTOR if inputs.device.type == "cpu" else 0
        if not missing:
            normalised = self._normalise(joined, *(part.flatten() for part in parts))
        else:
            mean, var, scale, shift = (F.pad(part.flatten(), (0, missing)) for part in parts)
            normalised = self._normalise(F.pad(joined, (0, missing)), mean, var, scale, shift)[:, :-missing]
            self.running_mean.copy_(mean[:-missing].view_as(self.running_mean))
            self.running_var.copy_(var[:-missing].view_as(self.running_var))
        return normalised.reshape(batch, members, units).transpose(0, 1)

    def _normalise(self, columns: Tensor, mean: Tensor, var: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Normalise each of `columns` [batch, columns], and update `mean` and `var` in training."""
        if self.recentre and self.rescale:
            return F.batch_norm(columns, mean, var, scale, shift, self.training, MOMENTUM, EPSILON)
        if self.training:
            running = mean, var
            var, mean = torch.var_mean(columns, dim=0, correction=0)
            unbiased = len(columns) / (len(columns) - 1) * var.detach()
            for old, new in zip(running, (mean.detach(), unbiased), strict=True):
                old.lerp_(new, MOMENTUM)
        centred = columns - mean if self.recentre else columns
        return (centred * (var + EPSILON).rsqrt() if self.rescale else centred) * scale + shift


class GroupNorm(nn.Module):
    """Group Normalization (Wu & He 2018, section 3) of each image's units, in groups of neighbours.

    x → γ·(x - μ)/√(σ² + 1e-5) + β, with the mean and biased variance of the group. With one group this is Layer
    Normalization (Ba et al. 2016, equations 3 and 4).

    Attributes:
        scale, shift: The learned γ and β [members, units].
    """

    def __init__(self, members: int, units: int, groups: int) -> None:
        """Start with γ = 1 and β = 0; `groups` divides `units`."""
        super().__init__()
        self.groups = groups
        self.scale = nn.Parameter(torch.ones(members, units))
        self.shift = nn.Parameter(torch.zeros(members, units))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise each image's `inputs` [members, batch, units], then scale and shift them; the shape stays."""
        members, batch, units = inputs.shape
        grouped = inputs.reshape(members, batch, self.groups, units // self.groups)
        normalised = F.layer_norm(grouped, grouped.shape[3:], eps=EPSILON).view(members, batch, units)
        return normalised * self.scale[:, None] + self.shift[:, None]


class RMSNorm(nn.Module):
    """Root mean square normalisation (Zhang & Sennrich 2019, equation 4) of each image's units.

    x → γ·x/√(mean(x²) + ε). The paper has no ε; here it is PyTorch's, the machine epsilon: 1.2e-7 in float32.

    Attributes:
        scale: The learned γ [members, units].
    """

    def __init__(self, members: int, units: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, units))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise each image's `inputs` [members, batch, units], then scale them; the shape stays."""
        return F.rms_norm(inputs, inputs.shape[2:]) * self.scale[:, None]


class WeightNorm(Linear):
    """An affine map by w = g·v/‖v‖ for each unit, with learned g and v (Salimans & Kingma 2016, equation 2).

    Unlike in the paper, no batch of data sets the initial g and bias: g starts as ‖v‖, so that w is what it would be
    without.

    Attributes:
        weight: v [members, outputs, inputs].
        length: g [members, outputs, 1].
    """

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__(members, inputs, outputs)
        self.length = nn.Parameter(torch.empty(members, outputs, 1))

    @torch.no_grad()
    def draw(self, member: int, generator: torch.Generator, deviation: float | None) -> None:
        """Draw v and the bias of one member as `Linear` draws its weights and bias, and set g = ‖v‖."""
        super().draw(member, generator, deviation)
        self.length[member] = torch.linalg.vector_norm(self.weight[member], dim=1, keepdim=True)

    def matrix(self) -> Tensor:
        """Return w [members, outputs, inputs]."""
        lengths: Tensor = torch.linalg.vector_norm(self.weight, dim=2, keepdim=True)
        return self.weight * (self.length / lengths)


# Of the hidden layers alone, so that all variants have the same output layer.
NORMS: dict[Variant, Callable[[int, int, Model], nn.Module]] = {
    "batchnorm": BatchNorm,
    "layernorm": lambda members, units, _: GroupNorm(members, units, groups=1),
    "groupnorm": lambda members, units, model: GroupNorm(members, units, model.groups),
    "rmsnorm": lambda members, units, _: RMSNorm(members, units),
}
LINEARS: dict[Variant, type[Linear]] = {"weightnorm": WeightNorm}


def check_variant(variant: Variant, model: Model) -> None:
    """Check that networks of this architecture can have this normalisation.

    Raises:
        UserError: They cannot.
    """
    if variant in LINEARS and model.norm_position == "before_activation":
        raise UserError(
            f"{variant}: has no position, because it normalises weights; model.norm_position should be after_activation"
        )
    for units in model.hidden:
        if variant == "groupnorm" and units % model.groups:
            raise UserError(f"model.groups = {model.groups}: groupnorm cannot divide {units} units into equal groups")
