"""Percentiles of the input of the last hidden layer's sigmoids (Ioffe & Szegedy 2015, section 4.1 and figure 1)."""

import torch
from torch import Tensor

from pipeline.data.dataset import Split
from pipeline.network.network import Network
from pipeline.training.measure import Measure
from pipeline.training.population import Population

PERCENTILES = (0.15, 0.5, 0.85)
IMAGES = 1000  # validation images over which the percentiles are taken


def probe(_population: Population, split: Split) -> Measure:
    """Return a measurement of the input of the last activation functions, in evaluation mode.

    Returns:
        A function from a network to `percentiles` [members, units, 3], over images; `unit_15`, `unit_50` and `unit_85`
        [members], those of the first unit; and `all_15`, `all_50` and `all_85` [members], over all units and images.
    """
    images = split.validation.images[:IMAGES]

    def measure(network: Network) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        network(images, tensors.__setitem__)
        *_, entering = (tensor.name for tensor in network.hidden_tensors() if tensor.side == "input")
        by_unit = tensors[entering].transpose(1, 2).contiguous()
        levels = torch.tensor(PERCENTILES, dtype=by_unit.dtype, device=by_unit.device)
        percentiles = by_unit.quantile(levels, dim=2).permute(1, 2, 0)
        views = {"unit": percentiles[:, 0].T, "all": by_unit.flatten(1).quantile(levels, dim=1)}
        by_name = {
            f"{view}_{round(100 * level)}": values
            for view, rows in views.items()
            for level, values in zip(PERCENTILES, rows, strict=True)
        }
        return {"percentiles": percentiles, **by_name}

    return measure
