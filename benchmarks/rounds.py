"""Measurements taken in turns, so that other load on the machine affects all of them alike."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

from benchmarks.settings import SMALL_BATCH
from pipeline.errors import UserError
from pipeline.params import VARIANTS, Variant

Measure = Callable[[], float]
Progress = Callable[[str], None]
Seconds = dict[str, list[float]]  # by what took turns, a value for each round

COMPARED = ("lab", "sklearn", "eager", "jax", "one", "all", "medium", "products")


def take_turns(what: str, measures: Mapping[str, Measure], rounds: int, progress: Progress) -> Seconds:
    """Take every measurement once in each round."""
    seconds: Seconds = {name: [] for name in measures}
    for number in range(1, rounds + 1):
        for name, measure in measures.items():
            seconds[name].append(measure())
            progress(f"{what}, round {number} of {rounds}, {name}: {seconds[name][-1]:.3f} s")
    return seconds


def compare(variant: Variant, batch: int, rounds: int, progress: Progress) -> Seconds:
    """Measure an epoch of one network by the peers and this project; at small batches also beside a busy core."""
    with contextlib.ExitStack() as stack:
        measures: dict[str, Measure] = {
            kind: stack.enter_context(worker(kind, variant, batch)) for kind in COMPARED if _can_run(kind, variant)
        }
        if batch == SMALL_BATCH:
            measures["busy"] = busy(measures["all"])
        return take_turns(f"batch {batch}, {variant}", measures, rounds, progress)


def sweeps(rounds: int, progress: Progress) -> Seconds:
    """Measure whole sweeps by one worker and by all, and the study with the costliest probe, also without it."""
    with contextlib.ExitStack() as stack:
        kinds = ("sweep_1", "sweep", "shift", "shift_unprobed")
        measures = {kind: stack.enter_context(worker(kind, VARIANTS[0], SMALL_BATCH)) for kind in kinds}
        return take_turns("sweeps", measures, rounds, progress)


def _can_run(kind: str, variant: Variant) -> bool:
    return importlib.util.find_spec("jax") is not None if kind == "jax" else (kind, variant) != ("sklearn", "batchnorm")


def busy(measure: Measure) -> Measure:
    """Return a measurement that is taken while another process keeps one core busy."""

    def beside() -> float:
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
            try:
                return measure()
            finally:
                process.kill()

    return beside


@contextlib.contextmanager
def worker(kind: str, variant: Variant, batch: int) -> Iterator[Measure]:
    """Yield a function that lets a worker measure once, or raises a UserError if it has died."""
    command = [sys.executable, "-m", "benchmarks.worker", kind, variant, str(batch)]
    pipe, quiet = subprocess.PIPE, {**os.environ, "TQDM_DISABLE": "1"}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=quiet) as process:
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert answers is not None

        def measure() -> float:
            with contextlib.suppress(BrokenPipeError):
                requests.write("\n")
                requests.flush()
            answer = answers.readline()
            if not answer:
                raise UserError(f"`{' '.join(command[1:])}` stopped without an answer")
            return float(answer)

        try:
            yield measure
        finally:
            with contextlib.suppress(BrokenPipeError):
                requests.close()
