"""The only importer of mlflow: runs that always end, batches instead of single values, links to DVC and Git.

Runs go to MLFLOW_TRACKING_URI or, without it, to `mlflow.db` and `mlruns/` in the repository root, where
`mlflow ui` looks. Inside `mlflow run` they go to the run that MLflow has started.
"""

import contextlib
import getpass
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import UserError

DEFAULT_EXPERIMENT = "0"
BATCH = 1000  # metrics that MLflow accepts in one request
OUTPUTS_TAG = "digest.outputs"

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Run:
    """A run under way, and what can be logged to it."""

    client: mlflow.MlflowClient
    run_id: str
    experiment_id: str
    common_tags: Mapping[str, str]

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters that are not None; one that the run has (`mlflow run` logs what it was given) stays."""
        known = self.client.get_run(self.run_id).data.params
        given = {name: value for name, value in values.items() if name not in known}
        self.client.log_batch(self.run_id, params=_params(given))

    def metrics(self, values: Mapping[str, Points]) -> None:
        """Log points (step, value) of every metric, in as few requests as possible."""
        for batch in self._batches(values):
            self.client.log_batch(self.run_id, metrics=batch)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in values.items()])

    def image(self, key: str, step: int, pixels: NDArray[np.uint8]) -> None:
        """Log an image [height, width, 3] that the run's page shows with a step slider; `key` without slashes."""
        self.client.log_image(self.run_id, pixels, key=key, step=step)

    def files(self, paths: Sequence[Path], folder: str) -> None:
        """Log files as artifacts in a folder of the run."""
        for path in paths:
            self.client.log_artifact(self.run_id, str(path), folder)

    def text(self, content: str, name: str) -> None:
        """Log a text as an artifact."""
        self.client.log_text(self.run_id, content, name)

    def dataset(self, name: str, digest: str, context: str, profile: str) -> None:
        """Log an input: `context` is what it was used for."""
        entity = Dataset(name, digest[:12], "local", digest, profile=profile)
        self.client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])

    def experiment_tag(self, name: str, value: str) -> None:
        """Set a tag of the experiment."""
        self.client.set_experiment_tag(self.experiment_id, name, value)

    def model(
        self,
        loader: str,
        folder: Path,
        example: NDArray[np.float32],
        packages: Sequence[str],
        metrics: Mapping[str, float],
    ) -> None:
        """Log the model in `folder`, which module `loader` serves: float32 rows like `example` to int64 [rows].

        `metrics` are the model's own. MLflow gives a model all metrics that its run has by then, so log it first.
        """
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *example.shape[1:]))]),
            outputs=Schema([TensorSpec(np.dtype(np.int64), (-1,))]),
        )
        with mlflow.start_run(run_id=self.run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                loader_module=loader,
                data_path=str(folder),
                code_paths=[str(Path(__file__).parent)],
                input_example=example,
                signature=signature,
                pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in packages],
            )
        self.client.update_run(self.run_id, status="RUNNING")  # which the end of `with` has ended
        for name, value in metrics.items():
            self.client.log_metric(self.run_id, name, value, model_id=logged.model_id)

    def child(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, Points]) -> "Run":
        """Log a nested run, whole."""
        tags = {**self.common_tags, MLFLOW_PARENT_RUN_ID: self.run_id}
        started = self.client.create_run(self.experiment_id, tags=tags, run_name=name)
        with _ended(Run(self.client, started.info.run_id, self.experiment_id, self.common_tags)) as run:
            first, *rest = run._batches(metrics)
            self.client.log_batch(run.run_id, metrics=first, params=_params(params))
            for batch in rest:
                self.client.log_batch(run.run_id, metrics=batch)
        return run

    @staticmethod
    def _batches(metrics: Mapping[str, Points]) -> list[list[Metric]]:
        now = int(time.time() * 1000)
        entities = [Metric(name, float(value), now, step) for name, at in metrics.items() for step, value in at]
        return [entities[start : start + BATCH] for start in range(0, max(1, len(entities)), BATCH)]


@contextlib.contextmanager
def start(name: str, tags: Mapping[str, str], experiment: str | None = None) -> Iterator[Run]:
    """Start a run, or go on with the one that `mlflow run` has started; end it whatever happens.

    With the name of an `experiment`, which is made if it is missing, always start a new one there.

    Raises:
        UserError: the store cannot be used.
    """
    client, experiment_id = _connect(experiment)
    all_tags = {**_context_tags(), **tags}
    with _store_errors():
        given = None if experiment else os.environ.get("MLFLOW_RUN_ID")
        if given:
            info = client.get_run(given).info
            run = Run(client, given, info.experiment_id, all_tags)
            run.tags(all_tags)
            client.update_run(given, name=f"{name} [{info.run_name}]")
        else:
            run_name = " ".join(filter(None, (name, _experiment_name())))
            started = client.create_run(experiment_id, tags=all_tags, run_name=run_name)
            run = Run(client, started.info.run_id, experiment_id, all_tags)
    with _ended(run), _store_errors():
        yield run


def recorded(outputs_digest: str, experiment: str | None = None) -> bool:
    """Return whether the store has a finished run with these outputs.

    Raises:
        UserError: the store cannot be used.
    """
    client, experiment_id = _connect(experiment)
    with _store_errors():
        query = f"tags.`{OUTPUTS_TAG}` = '{outputs_digest}' and attributes.status = 'FINISHED'"
        return bool(client.search_runs([experiment_id], query, ViewType.ACTIVE_ONLY, max_results=1))


def uri() -> str:
    """Return the address of the store. DVC runs queued experiments in a copy: `DVC_ROOT` is the true root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_root() / 'mlflow.db'}"


def _root() -> Path:
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def _connect(named: str | None = None) -> tuple[mlflow.MlflowClient, str]:
    """Return a client and the experiment. The store puts artifacts beside the folder it is first opened in."""
    with _store_errors(), contextlib.chdir(_root()):
        mlflow.set_tracking_uri(uri())
        client = mlflow.MlflowClient()
        experiment = None if named else os.environ.get("MLFLOW_EXPERIMENT_ID")
        if not experiment and (name := named or os.environ.get("MLFLOW_EXPERIMENT_NAME")):
            experiment = _experiment(client, name)
        return client, client.get_experiment(experiment or DEFAULT_EXPERIMENT).experiment_id


def _experiment(client: mlflow.MlflowClient, name: str) -> str:
    """Return the experiment's id; it is made if it is missing, by one of the clients that find it so."""
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    try:
        return client.create_experiment(name)
    except MlflowException:
        if found := client.get_experiment_by_name(name):
            return found.experiment_id
        raise


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise UserError(f"MLflow at {uri()}: {str(error).splitlines()[0]}") from error


@contextlib.contextmanager
def _ended(run: Run) -> Iterator[Run]:
    """End the run as FINISHED, FAILED, or, when the process was asked to stop, KILLED."""
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        run.client.set_terminated(run.run_id, status)


def _context_tags() -> dict[str, str]:
    """What links a run to DVC and Git; outside a repository the commit is left out."""
    tags = {
        MLFLOW_SOURCE_TYPE: "LOCAL",
        MLFLOW_SOURCE_NAME: " ".join(["python -m pipeline", *sys.argv[1:]]),
    }
    with contextlib.suppress(KeyError, OSError):  # a user without a name, as in some containers
        tags[MLFLOW_USER] = getpass.getuser()
    if commit := _git("rev-parse", "HEAD"):
        # What DVC and the stages write is no change of the project.
        changed = _git("status", "--porcelain", "--", ".", ":!dvc.lock", ":!results")
        tags |= {MLFLOW_GIT_COMMIT: commit, "git.dirty": str(bool(changed)).lower()}
    for name in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        if value := os.environ.get(name):
            tags[name.lower().replace("_", ".", 1)] = value
    return tags


def _experiment_name() -> str:
    name = os.environ.get("DVC_EXP_NAME")
    return f"[{name}]" if name else ""


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _params(values: Mapping[str, Any]) -> list[Param]:
    return [Param(name, _text(value)) for name, value in values.items() if value is not None]


def _text(value: Any) -> str:
    """Return a parameter as params.yaml and the command line write it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
