"""The device that computes the networks, the CPU or a CUDA device, with its threads, precision and memory."""

import torch

from pipeline.errors import UserError
from pipeline.params import Train


def configure_device(settings: Train) -> torch.device:
    """Choose the device, set threads and the precision of products, and flush denormal numbers to zero.

    All of it holds for the whole process. Saturated sigmoids produce denormal numbers, which are slow to compute with.

    Args:
        settings: The section `train` of the parameters.

    Raises:
        UserError: `cuda` is requested but not available.
    """
    torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision(settings.matmul_precision)
    torch.set_flush_denormal(True)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device = 'cuda': PyTorch finds no CUDA device here; use 'auto' or 'cpu'")
    return torch.device("cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu")


def device_memory(device: torch.device) -> int | None:
    """Return the memory of a CUDA device in bytes, or None for the CPU."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
