"""A process that takes one kind of measurement, once for every line on its standard input.

`python -m benchmarks.worker KIND VARIANT BATCH`
"""

import sys
from collections.abc import Callable, Iterator

import torch

from benchmarks import lab, project
from benchmarks.settings import Kind
from pipeline import paths
from pipeline.network.device import configure_device
from pipeline.params import VARIANTS, Params, Variant, load

Measurements = Callable[[Params, Variant, int], Iterator[float]]

MEASUREMENTS: dict[Kind, Measurements] = {
    "lab": lab.epochs,
    "lab_with_validation": lab.with_validation,
    "project": project.epochs,
    "products": project.products,
    "logging": project.logging,
}


def main(kind: Kind, variant: Variant, batch: int) -> None:
    """Answer every line on stdin with the seconds of a measurement on stdout, until stdin ends."""
    params = load(paths.PARAMS)
    configure_device(params.train.model_copy(update={"device": "cpu"}))
    if kind.startswith("lab"):
        torch.set_flush_denormal(False)  # the lab does not set it
    measurements = MEASUREMENTS[kind](params, variant, batch)
    for _ in sys.stdin:
        print(next(measurements), flush=True)


if __name__ == "__main__":
    wanted_kind, wanted_variant, wanted_batch = sys.argv[1:]
    main(
        next(kind for kind in MEASUREMENTS if kind == wanted_kind),
        next(variant for variant in VARIANTS if variant == wanted_variant),
        int(wanted_batch),
    )
