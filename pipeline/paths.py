"""Where the pipeline's files lie, relative to the repository root, as dvc.yaml has them."""

from pathlib import Path

PARAMS = Path("params.yaml")
DATA = Path("data")
RUNS = Path("runs")
RESULTS = Path("results/lab")
SWEEPS = Path("sweeps")
UNSENT = Path("mlruns/unsent")
TRACKED = Path("mlruns/tracked.json")  # beside the embedded store, to go when that goes
