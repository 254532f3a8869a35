"""A model logged in a run: with the metrics that are its own, whatever the run has by then."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import mlflow.pyfunc
import numpy as np
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray

NAME = "model"


def log(
    client: mlflow.MlflowClient,
    run_id: str,
    loader: str,
    files: Mapping[str, bytes],
    example: NDArray[np.float32],
    packages: Sequence[str],
    code: Path,
    metrics: Mapping[str, float],
) -> None:
    """Log a model as `Run.log_model` describes it. MLflow's own way would give it all metrics of its run."""
    run = client.get_run(run_id)
    logged = client.create_logged_model(run.info.experiment_id, NAME, run_id, params=run.data.params)
    try:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / NAME
            description = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
            _save(folder, description, loader, files, example, packages, code)
            client.log_model_artifacts(logged.model_id, str(folder))
        for name, value in metrics.items():
            client.log_metric(run_id, name, value, model_id=logged.model_id)
    except Exception:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")


def _save(
    folder: Path,
    description: Model,
    loader: str,
    files: Mapping[str, bytes],
    example: NDArray[np.float32],
    packages: Sequence[str],
    code: Path,
) -> None:
    """Write the model as MLflow reads it."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / NAME
        data.mkdir()
        for name, content in files.items():
            (data / name).write_bytes(content)
        mlflow.pyfunc.save_model(
            folder,
            loader_module=loader,
            data_path=str(data),
            code_paths=[str(code)],
            mlflow_model=description,
            input_example=example,
            # Without inputs, which MLflow would check more strictly than the model does.
            signature=ModelSignature(outputs=Schema([TensorSpec(np.dtype(np.int64), (-1,))])),
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in packages],
        )
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache, ignore_errors=True)
