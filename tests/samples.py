"""Helpers shared by many test modules: the project's parameters, populations, and a store to write to."""

import os
from pathlib import Path

import pytest

from pipeline.data.dataset import Split
from pipeline.params import ALL_VARIANTS, Params, Variant
from pipeline.sweeps.outcome import Outcome, OutcomeJob
from pipeline.sweeps.probe import Probe
from pipeline.training.population import Population
from tools import sandbox

ROOT = sandbox.ROOT
PARAMS = ROOT / "params.yaml"
POSITIONS = ("after_activation", "before_activation")
KINDS: list[tuple[Variant, str]] = [  # every variant at the positions where it differs
    (variant, position)
    for variant in ALL_VARIANTS
    for position in (POSITIONS[:1] if variant in ("plain", "weightnorm") else POSITIONS)
]


def population(params: Params, variant: Variant) -> Population:
    """Describe the networks of all seeds of these parameters."""
    return Population(variant, params.model, params.train, params.train.seeds)


def probe_of(study: str, every: int) -> Probe:
    """Return the probe of one of the project's studies."""
    file = ROOT / "studies" / study / "probe.py"
    return Probe(str(file), file.read_text(encoding="utf-8"), every)


def outcome_of(population: Population, split: Split, probe: Probe | None = None) -> Outcome:
    """Train and test all networks of a population at once, in this process."""
    return OutcomeJob(population, None, probe).run(split)


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `folder` the working directory and keep the store in it, whatever earlier tests have set."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
