"""The parts of a population: the networks that are trained at once, and what an earlier training of them has left."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.training.population import Population, name_of

SUFFIX = ".checkpoint"


def checkpoint_file(folder: Path, part: Population) -> Path:
    """Return the file for the checkpoint of a part."""
    return folder / f"{name_of(part.seeds)}{SUFFIX}"


def cut(population: Population, least: int, memory: int | None, checkpoints: Path | None) -> list[Population]:
    """Cut a population into parts, in the order of its seeds; parts that have a checkpoint go on as they were.

    On the CPU no result depends on how it is cut. One thread computes each network as if it were alone; several
    threads, or products of less precision, would not: there each network is a part.

    Args:
        population: The networks.
        least: How many parts there should be at least, so that no worker is idle.
        memory: The bytes of the CUDA device's memory, or None for the CPU.
        checkpoints: The folder of their checkpoints, if there is one.
    """
    seeds, train = population.seeds, population.train
    if memory is None and (train.threads > 1 or train.matmul_precision != "highest"):
        return [replace(population, seeds=(seed,)) for seed in seeds]
    begun = _begun(seeds, checkpoints) if checkpoints else []
    parts: list[Population] = []
    at = 0
    for start, end in [*begun, (len(seeds), len(seeds))]:
        if at < start:
            parts += replace(population, seeds=seeds[at:start]).parts(max(1, least - len(begun)), memory)
        if start < end:
            parts.append(replace(population, seeds=seeds[start:end]))
        at = end
    return parts


def _begun(seeds: Sequence[int], folder: Path) -> list[tuple[int, int]]:
    """Return where parts with a checkpoint begin and end among the seeds, in order, none within another."""
    names = {str(seed): at for at, seed in enumerate(seeds)}
    found: list[tuple[int, int]] = []
    for path in folder.glob(f"*{SUFFIX}"):
        first, last, *_ = (*path.stem.split("-"), "", "")
        start, end = names.get(first, 0), names.get(last, -1) + 1
        if start < end and name_of(seeds[start:end]) == path.stem:
            found.append((start, end))
    apart: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if not apart or apart[-1][1] <= start:
            apart.append((start, end))
    return apart
