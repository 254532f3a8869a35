"""Where networks are computed: the processor or a CUDA device, with its threads and its memory."""

import torch

from pipeline.errors import UserError


def prepare(device: str, threads: int | str) -> torch.device:
    """Set the threads, and flush denormal numbers, which saturated sigmoids make and which are slow.

    Raises:
        UserError: CUDA is asked for and not there.
    """
    torch.set_num_threads(min(8, torch.get_num_threads()) if threads == "auto" else int(threads))
    torch.set_flush_denormal(True)
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device = 'cuda': PyTorch finds no CUDA device here; use 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def memory(device: torch.device) -> int | None:
    """Return the bytes of a CUDA device's memory; None for the processor."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
