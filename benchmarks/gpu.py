"""Training on CUDA: model-epochs per second by number of members, compared with the speed of its products."""

import time
from collections.abc import Callable
from itertools import pairwise

import torch

from benchmarks.rounds import Progress
from benchmarks.settings import read_images
from pipeline import paths
from pipeline.analysis.tables import format_number, markdown_table
from pipeline.data.dataset import Examples, split
from pipeline.errors import UserError
from pipeline.network.device import device_memory
from pipeline.network.perceptron import widths
from pipeline.params import VARIANTS, Params, load
from pipeline.training.part import PartTraining
from pipeline.training.population import Population

MEMBERS = (1, 4, 16, 64, 256, 1024, 4096)
REPEATS = 3  # epochs measured, after one to warm up


def measure_gpu(progress: Progress) -> str:
    """Measure both variants with 1 to 4096 members, and return the table as Markdown; a UserError without CUDA."""
    if not torch.cuda.is_available():
        raise UserError("PyTorch finds no CUDA device here, so there is nothing to measure")
    device = torch.device("cuda")
    params = load(paths.PARAMS)
    examples = split(read_images(), 0, device).train
    best = speed(device)
    floor = operations(params, len(examples)) / best
    rows = []
    for variant in VARIANTS:
        for members in MEMBERS:
            whole = Population(variant, params.model, params.train, tuple(range(members)))
            part = whole.parts(memory=device_memory(device))[0]
            rate = len(part.seeds) / epoch_seconds(part, examples)
            share = format_number(rate * floor, 2)
            rows.append([variant, str(members), str(len(part.seeds)), format_number(rate, 0), share])
            progress(f"{variant}, {members} members, {len(part.seeds)} at once: {rate:.0f} model-epochs per second")
    name = torch.cuda.get_device_name(device)
    lines = [
        f"{name}, PyTorch {torch.__version__}; eager, float32. The floor is what the products of an epoch take at the "
        f"speed of a large one, {best / 1e12:.1f} TFLOP/s.",
        "",
        *markdown_table(["variant", "members", "at once", "model-epochs per second", "share of the floor's"], rows),
    ]
    return "\n".join(lines) + "\n"


def epoch_seconds(population: Population, examples: Examples) -> float:
    """Return the seconds that all members together take for an epoch, without measurements."""
    training = PartTraining(population, examples)
    training.run_epoch()
    return _seconds(training.run_epoch, REPEATS, examples.images.device)


def operations(params: Params, images: int) -> float:
    """Return the floating-point operations of one network's matrix products in an epoch, as `project.products` does."""
    products = [inputs * outputs for inputs, outputs in pairwise(widths(params.model))]
    return 2 * images * (3 * sum(products) - products[0])


def speed(device: torch.device, size: int = 8192) -> float:
    """Return the operations per second of a product of two float32 matrices of `size` rows."""
    left, right = (torch.rand(size, size, device=device) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: torch.mm(left, right), 10, device)


def _seconds(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Return the mean seconds of a call, after one call to warm up."""
    work()
    _wait(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    _wait(device)
    return (time.perf_counter() - start) / times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
