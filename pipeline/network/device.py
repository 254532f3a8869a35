"""The device that computes the networks, the CPU or a CUDA device, with its threads and memory."""

import torch

from pipeline.errors import UserError

MOST_THREADS = 8  # of `auto`


def configure_device(device: str, threads: int | str) -> torch.device:
    """Choose the device, set the number of threads, and flush denormal numbers to zero, for the whole process.

    Saturated sigmoids produce denormal numbers, which are slow to compute with.

    Args:
        device: `cpu`, `cuda`, or `auto` for CUDA where it is available.
        threads: A number, or `auto` for PyTorch's choice, limited to 8.

    Raises:
        UserError: `cuda` is requested but not available.
    """
    torch.set_num_threads(min(MOST_THREADS, torch.get_num_threads()) if threads == "auto" else int(threads))
    torch.set_flush_denormal(True)
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device = 'cuda': PyTorch finds no CUDA device here; use 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def device_memory(device: torch.device) -> int | None:
    """Return the memory of a CUDA device in bytes, or None for the CPU."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
