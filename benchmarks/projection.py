"""The seconds of a large sweep on many nodes, computed from the measurements of one machine."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

# Assumptions beyond the measurements.
NODES = (10, 100, 1000)
POPULATIONS = 10_100  # in the sweep, such as both variants at 101 learning rates and 50 batch sizes
BANDWIDTH = 1.25e9  # bytes per second from the driver's node to all other nodes together: 10 Gbit/s


@dataclass(frozen=True)
class Measured:
    """The measurements of one machine.

    Attributes:
        alone: Model-epochs per second of the local sweep with one thread.
        rates: Model-epochs per second by number of workers, each with one thread.
        epochs: Model-epochs of a population.
        size: Bytes of the images.
        put: Seconds until the driver's node holds the images.
        fetch: Seconds until another raylet on this machine holds them, too.
        log: Seconds in which the driver logs a point.
    """

    alone: float
    rates: Mapping[int, float]
    epochs: int
    size: int
    put: float
    fetch: float
    log: float

    def seconds(self) -> float:
        """Return the seconds that a population takes while every worker of this machine is busy."""
        workers = max(self.rates)
        return self.epochs * workers / self.rates[workers]


@dataclass(frozen=True)
class Projection:
    """The seconds that the parts of a sweep take on nodes like the measured machine.

    Attributes:
        nodes: The number of nodes.
        broadcast: The images' way to all nodes, before training.
        training: All trainings, if no worker ever waited.
        waiting: The addition of the last wave, if the populations do not divide evenly among the workers.
        logging: The points' way into MLflow, during training.
        rate: Model-epochs per second of the whole sweep.
    """

    nodes: int
    broadcast: float
    training: float
    waiting: float
    logging: float
    rate: float

    def bottleneck(self) -> str:
        """Return the name of the part that takes longest."""
        parts = {
            "training": self.training,
            "data broadcast": self.broadcast,
            "stragglers": self.waiting,
            "logging": self.logging,
        }
        return max(parts, key=lambda name: parts[name])


def project_sweep(measured: Measured, nodes: int) -> Projection:
    """Compute the seconds of a sweep of `POPULATIONS` on a number of nodes."""
    workers = nodes * max(measured.rates)
    training = POPULATIONS / workers * measured.seconds()
    waiting = math.ceil(POPULATIONS / workers) * measured.seconds() - training
    broadcast = measured.size * nodes / BANDWIDTH
    logging = POPULATIONS * measured.log
    total = broadcast + max(training + waiting, logging)
    return Projection(nodes, broadcast, training, waiting, logging, POPULATIONS * measured.epochs / total)
