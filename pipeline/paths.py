"""Where the pipeline's files are, relative to the repository root, as dvc.yaml has them."""

from pathlib import Path

PARAMS = Path("params.yaml")
DATA = Path("data")
RUNS = Path("runs")
RESULTS = Path("results/lab")
SWEEPS = Path("sweeps")
OUTCOMES = SWEEPS / ".outcomes"  # of all sweeps and studies: equal populations are trained once
