"""Small trained networks for tests of probes."""

import numpy as np
from numpy.typing import NDArray

from pipeline.data.dataset import Split
from pipeline.network.perceptron import Perceptron
from pipeline.training.loop import fit
from pipeline.training.population import Population

SETTINGS = {"hidden": "7,6", "seeds": "3,1", "epochs": "2", "batch_size": "16", "lr": "0.05"}


def trained(described: Population, split: Split) -> Perceptron:
    """A network in evaluation mode whose weights and statistics are those after training."""
    network = described.network().eval()
    network.load_state_dict(fit(described, split.train).weights)
    return network


def logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-values))
    return result
