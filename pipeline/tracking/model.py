"""A model logged in a run: with the metrics that are its own, whatever the run has by then."""

import logging
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import mlflow.pyfunc
import numpy as np
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model, ModelSignature
from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from .contents import ModelFiles

logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # it says that it tries the example


def log(client: mlflow.MlflowClient, run_id: str, model: ModelFiles) -> str:
    """Log a model, and return its id. MLflow's own way would give it all metrics of its run."""
    run = client.get_run(run_id)
    logged = client.create_logged_model(run.info.experiment_id, model.name, run_id, params=run.data.params)
    try:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / model.name
            description = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
            _save(folder, description, model)
            client.log_model_artifacts(logged.model_id, str(folder))
        for name, value in model.metrics.items():
            client.log_metric(run_id, name, value, model_id=logged.model_id)
    except Exception:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id)


def _save(folder: Path, description: Model, model: ModelFiles) -> None:
    """Write the model as MLflow reads it."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / model.name
        data.mkdir()
        for name, content in model.files.items():
            (data / name).write_bytes(content)
        options = ParamSchema([ParamSpec(key, DataType.boolean, value) for key, value in model.options.items()])
        mlflow.pyfunc.save_model(
            folder,
            loader_module=model.loader,
            data_path=str(data),
            code_paths=[str(model.code)],
            mlflow_model=description,
            input_example=model.example,
            # Without inputs, which MLflow would check more strictly than the model does.
            signature=ModelSignature(outputs=Schema([TensorSpec(np.dtype(np.int64), (-1,))]), params=options),
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in model.packages],
        )
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache, ignore_errors=True)
