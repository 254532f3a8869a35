"""Where MLflow's pages show the saved views, and whether there is a display for a browser."""

import os
import sys

from pipeline.records import saved_view
from pipeline.tracking import embedded, place

SERVED = "http://127.0.0.1:5000"  # by `mlflow ui`


def link() -> str:
    """Return the address of the saved view of the newest trainings."""
    return f"{_server()}/{saved_view.path(_experiment())}"


def sweep_link(name: str) -> str:
    """Return the address of a sweep's view.

    Raises:
        TrackingError: The store is out of reach.
    """
    from pipeline.records import sweep_view, sweeps
    from pipeline.tracking import store  # MLflow takes seconds

    return f"{_server()}/{saved_view.path(store.connect(sweeps.experiment())[1], sweep_view.key(name))}"


def has_display() -> bool:
    """Return whether a browser could be shown."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _server() -> str:
    """Return the address of `mlflow ui` or, where the store is a server, of that."""
    store = place.name()
    return store.rstrip("/") if store.startswith(("http://", "https://")) else SERVED


def _experiment() -> str:
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return given
    if not os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        return embedded.DEFAULT_EXPERIMENT
    from pipeline.tracking import store  # MLflow takes seconds

    return store.connect()[1]
