"""MLflow's former file store, of which a trace in `mlruns/` keeps `mlflow ui` and `mlflow run` from starting.

Where any `mlruns/NUMBER/meta.yaml` is, MLflow 3.17 takes `./mlruns` for its default store, and then refuses it with a
traceback that names neither this file nor this project's `mlflow.db`.
"""

from pathlib import Path


def warning(root: Path) -> str | None:
    """Return one line that says what to do about a former file store in `root/mlruns`; None if there is none."""
    try:
        entries = [entry for entry in (root / "mlruns").iterdir() if entry.name.isdigit()]
        found = sorted(str(entry.relative_to(root)) for entry in entries if (entry / "meta.yaml").is_file())
    except OSError:
        return None
    if not found:
        return None
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f"{found[0]}/meta.yaml{more} of MLflow's former file store: `mlflow ui` and `mlflow run` will stop with a "
        "traceback in this folder. Rename it to meta.yaml.old; to keep its runs, first run `mlflow migrate-filestore "
        "--source mlruns --target sqlite:///old.db`"
    )
