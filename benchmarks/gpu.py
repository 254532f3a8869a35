"""Training on CUDA: model-epochs per second against members, and how far that is from what the device could do."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.settings import read_images
from pipeline import paths
from pipeline.analysis.tables import format_number, markdown_table
from pipeline.data.dataset import CLASSES, PIXELS, Examples, split
from pipeline.errors import UserError
from pipeline.network.device import device_memory
from pipeline.params import VARIANTS, Params, load
from pipeline.training.part import PartTraining
from pipeline.training.population import Population

MEMBERS = (1, 4, 16, 64, 256, 1024, 4096)
REPEATS = 3  # epochs measured, after one that is not

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Speed:
    """What a device does at best: float32 operations and bytes per second, both measured."""

    operations: float
    bytes: float


def measure(progress: Progress) -> str:
    """Measure every variant with ever more members, and return the table.

    Raises:
        UserError: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise UserError("PyTorch finds no CUDA device here, so there is nothing to measure")
    device = torch.device("cuda")
    params = load(paths.PARAMS)
    examples = split(read_images(), 0, device).train
    best = speed(device)
    floor = max(operations(params, len(examples)) / best.operations, traffic(params, len(examples)) / best.bytes)
    rows = []
    for variant in VARIANTS:
        for members in MEMBERS:
            whole = Population(variant, params.model, params.train, tuple(range(members)))
            part = next(whole.parts(device_memory(device)))
            rate = len(part.seeds) / epoch_seconds(part, examples)
            rows.append(
                [variant, str(members), str(len(part.seeds)), format_number(rate, 0), format_number(rate * floor, 2)]
            )
            progress(f"{variant}, {members} members, {len(part.seeds)} at once: {rate:.0f} model-epochs per second")
    name = torch.cuda.get_device_name(device)
    lines = [
        f"{name}, PyTorch {torch.__version__}; eager, float32; {best.operations / 1e12:.1f} TFLOP/s in a large matrix "
        f"product, {best.bytes / 1e9:.0f} GB/s in a large copy. The floor is the greater of the operations and the "
        "bytes of an epoch at these speeds.",
        "",
        *markdown_table(["variant", "members", "at once", "model-epochs per second", "of the floor's"], rows),
    ]
    return "\n".join(lines) + "\n"


def epoch_seconds(population: Population, examples: Examples) -> float:
    """Return the seconds of one epoch of all members, without measuring in between."""
    training = PartTraining(population, examples)
    training.run_epoch()
    return _seconds(training.run_epoch, REPEATS, examples.images.device)


def operations(params: Params, images: int) -> float:
    """Floating-point operations of one network's matrix products in an epoch: forward, and two backward."""
    widths = [PIXELS, *params.model.hidden, CLASSES]
    products = [inputs * outputs for inputs, outputs in pairwise(widths)]
    return 2 * images * (3 * sum(products) - products[0])  # nobody needs the images' gradients


def traffic(params: Params, images: int) -> float:
    """Bytes that one network's epoch moves at least.

    Images are gathered (read and written), then read forward and backward; a hidden layer's pre-activations and
    activations are written once, read once forward and once backward; at every step the weights are read forward and
    backward, their gradients written, and Adam reads four such tensors and writes three.
    """
    widths = [PIXELS, *params.model.hidden, CLASSES]
    weights = sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))
    steps = -(-images // params.train.batch_size)
    return 4 * (images * (4 * PIXELS + 6 * sum(widths[1:])) + 10 * weights * steps)


def speed(device: torch.device, size: int = 8192) -> Speed:
    """Measure a product of two square matrices, and a copy of one of them four times over."""
    one, other = (torch.rand(size, size, device=device) for _ in range(2))
    long = torch.rand(4 * size, size, device=device)
    copy = torch.empty_like(long)
    product: Tensor = torch.empty_like(one)
    multiplied = _seconds(lambda: torch.mm(one, other, out=product), 10, device)
    copied = _seconds(lambda: copy.copy_(long), 10, device)
    return Speed(2 * size**3 / multiplied, 2 * long.nbytes / copied)


def _seconds(act: Callable[[], object], times: int, device: torch.device) -> float:
    act()
    _wait(device)
    begun = time.perf_counter()
    for _ in range(times):
        act()
    _wait(device)
    return (time.perf_counter() - begun) / times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
