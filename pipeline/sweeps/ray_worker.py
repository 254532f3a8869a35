"""The part of a sweep on Ray that runs on its workers: images as shared arrays, and the run of one job."""

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.dataset import Examples, Split
from pipeline.network.device import configure_device
from pipeline.params import Train
from pipeline.training.job import Job, Result
from pipeline.training.loop import Epoch

if TYPE_CHECKING:
    from ray.actor import ActorProxy

    from pipeline.sweeps.ray_cluster import Progress

Arrays = Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]  # images and labels: training, validation, test

INTERVAL = 2.0  # seconds between two reports of a worker's progress


def run_on_worker(
    job: Job[Result], arrays: Arrays, settings: Train, progress: "ActorProxy[Progress]", number: int
) -> Result:
    """Run a job on a worker.

    Args:
        job: The job.
        arrays: The images, as `split_to_arrays` returns them.
        settings: The section `train` of the parameters, with the device of the worker.
        progress: The actor that collects the completed epochs.
        number: The number of the job.
    """
    split = arrays_to_split(arrays, configure_device(settings))
    reported = time.monotonic()

    def report(epoch: Epoch) -> None:
        nonlocal reported
        if time.monotonic() - reported >= INTERVAL:
            progress.update.remote(number, epoch)  # not awaited: Ray lends the cores of a waiting worker to others
            reported = time.monotonic()

    return job.run(split, report)


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
