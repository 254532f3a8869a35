"""The machine that a benchmark ran on, in one line."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil


def describe() -> str:
    """Processor, cores, memory, and the versions that matter."""
    memory = psutil.virtual_memory().total / 1e9
    return (
        f"{_processor()}, {cores()} cores, {memory:.0f} GB of memory, {platform.system()}, "
        f"Python {platform.python_version()}, PyTorch {version('torch')}"
    )


def _processor() -> str:
    """The processor's name; Linux alone keeps it where `platform` does not look."""
    details = Path("/proc/cpuinfo")
    if details.is_file():
        for line in details.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
