"""The machine that runs a benchmark."""

import os
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil


def describe() -> str:
    """Return the processor, cores, memory and relevant versions in one line."""
    memory = psutil.virtual_memory().total / 1e9
    packages = (("torch", "torch"), ("sklearn", "scikit-learn"), ("jax", "jax"))
    versions = [f"{package} {version(package)}" for module, package in packages if find_spec(module)]
    python = f"Python {platform.python_version()}"
    return ", ".join(
        [_processor(), f"{cores()} cores, {memory:.0f} GB of memory, {platform.system()}", python, *versions]
    )


def _processor() -> str:
    """Return the processor's name, which on Linux `platform` does not know."""
    details = Path("/proc/cpuinfo")
    if details.is_file():
        for line in details.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
