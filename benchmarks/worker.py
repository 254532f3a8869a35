"""A process that takes one kind of measurement, once for every line on its standard input.

`python -m benchmarks.worker KIND VARIANT BATCH`
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import peers, project
from pipeline import paths
from pipeline.params import VARIANTS, Params, Variant, load


def _jax(params: Params, variant: Variant, batch: int) -> Iterator[float]:
    from benchmarks import jax_peer  # imports JAX, which need not be installed

    return jax_peer.epochs(params, variant, batch)


MEASUREMENTS: dict[str, Callable[[Params, Variant, int], Iterator[float]]] = {
    "lab": peers.lab,
    "training": peers.lab_training,
    "sklearn": peers.sklearn,
    "eager": peers.eager,
    "jax": _jax,
    "one": partial(project.epochs, workers=1),
    "all": project.epochs,
    "medium": partial(project.epochs, matmul_precision="medium"),
    "products": project.products,
    "sweep_1": partial(project.sweep, workers=1),
    "sweep": project.sweep,
    "shift": project.shift,
    "shift_unprobed": partial(project.shift, probed=False),
}

if __name__ == "__main__":
    kind, name, batch = sys.argv[1:]
    variant = VARIANTS[VARIANTS.index(name)]
    measurements = MEASUREMENTS[kind](load(paths.PARAMS), variant, int(batch))
    for _ in sys.stdin:
        print(next(measurements), flush=True)
