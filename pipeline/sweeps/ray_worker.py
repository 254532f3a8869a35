"""The part of a sweep on Ray that runs on its workers: images as shared arrays, and the training of one population."""

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.dataset import Examples, Split
from pipeline.network.device import configure_device
from pipeline.sweeps.outcome import Outcome, train_population
from pipeline.sweeps.probe import Probe
from pipeline.training.population import Population

if TYPE_CHECKING:
    from ray.actor import ActorProxy

    from pipeline.sweeps.ray_cluster import Progress

Arrays = Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]  # images and labels: training, validation, test

INTERVAL = 2.0  # seconds between two reports of a worker's progress


def train_on_worker(
    population: Population,
    probe: Probe | None,
    arrays: Arrays,
    device: str,
    threads: int,
    progress: "ActorProxy[Progress]",
    digest: str,
) -> Outcome:
    """Train a population on a worker.

    Args:
        population: The networks to train.
        probe: The study's probe, if any.
        arrays: The images, as `split_to_arrays` returns them.
        device: `cpu` or `cuda`.
        threads: The number of threads.
        progress: The actor that collects the completed epochs.
        digest: The digest of the task.
    """
    split = arrays_to_split(arrays, configure_device(device, threads))
    completed, reported = 0, time.monotonic()

    def advance(epochs: int) -> None:
        nonlocal completed, reported
        completed += epochs
        if time.monotonic() - reported >= INTERVAL:
            progress.update.remote(digest, completed)  # not awaited: Ray lends the cores of a waiting worker to others
            reported = time.monotonic()

    return train_population(population, split, probe, advance=advance)


def split_to_arrays(split: Split) -> Arrays:
    """Return the images as arrays, which Ray shares among the workers of a node.

    If validation is on the test images, both are the same object, which Ray stores once.
    """
    parts = (split.train, split.validation, split.test)
    arrays = {id(part): (part.images.numpy(), part.labels.numpy()) for part in parts}
    return [arrays[id(part)] for part in parts]


def arrays_to_split(arrays: Arrays, device: torch.device) -> Split:
    """Return the images as tensors on a device, on the CPU without copying them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # and training never writes to it
        parts = [[torch.from_numpy(array).to(device) for array in part] for part in arrays]
    return Split(*(Examples(*part) for part in parts))
