"""Addresses of MLflow's pages."""

import os
from urllib.parse import quote

from pipeline.records.sweeps import experiment
from pipeline.tracking import store

PAGES = "http://127.0.0.1:5000"  # where `mlflow ui` shows the embedded store


def sweep_link(name: str) -> str:
    """Return the address of the runs of a sweep.

    Raises:
        TrackingError: The store is out of reach.
    """
    _, number = store.connect(experiment())
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    pages = named.rstrip("/") if named.startswith(("http://", "https://")) else PAGES
    chosen = quote(f"tags.sweep = '{name}'")
    return f"{pages}/#/experiments/{number}/runs?searchFilter={chosen}&workflowType=machine_learning"
