"""MLflow's store: where it is, a client of it, and which runs it has.

It is at MLFLOW_TRACKING_URI or, without it, in `mlflow.db` and `mlruns/` in the repository root, where `mlflow ui`
looks. Connecting also ends runs whose process has died.
"""

import contextlib
import functools
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_PROJECT_ENTRY_POINT
from sqlalchemy.exc import SQLAlchemyError

from . import process, sqlite
from .errors import BRIEF, PATIENT, TrackingError, cause, request_timeouts
from .provenance import PROCESS_TAG

DEFAULT_EXPERIMENT = "0"
OUTPUTS_TAG = "digest.outputs"

for _noisy in ("mlflow.store.db.utils", "urllib3"):  # what they have to say is raised as well
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise TrackingError, in one line, for whatever MLflow, its database or the network raises."""
    with request_timeouts(PATIENT):
        try:
            yield
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise TrackingError(f"MLflow at {uri()}: {cause(error)}") from error


def uri() -> str:
    """Return the address of the store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}"


def root() -> Path:
    """Return the folder of the project. DVC runs queued experiments in a copy: `DVC_ROOT` is the true root."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def connect(named: str | None = None) -> tuple[mlflow.MlflowClient, str]:
    """Return a client and the id of an experiment: the one `named`, which is made if it is missing, or the current one.

    The store puts artifacts beside the folder in which it is first opened.

    Raises:
        TrackingError: The store cannot be used.
    """
    with request_timeouts(BRIEF), translate_errors(), contextlib.chdir(root()):
        if path := sqlite.path_of(uri()):
            sqlite.ensure(path, _make)
        mlflow.set_tracking_uri(uri())
        client = mlflow.MlflowClient()
        _end_orphaned_runs(uri())
        experiment = None if named else os.environ.get("MLFLOW_EXPERIMENT_ID")
        if not experiment and (name := named or os.environ.get("MLFLOW_EXPERIMENT_NAME")):
            experiment = _experiment(client, name)
        return client, client.get_experiment(experiment or DEFAULT_EXPERIMENT).experiment_id


def has_run(outputs_digest: str, experiment: str | None = None) -> bool:
    """Return whether an experiment, by default the current one, has a finished run with these outputs.

    Raises:
        TrackingError: The store cannot be used.
    """
    client, experiment_id = connect(experiment)
    with translate_errors():
        query = f"tags.`{OUTPUTS_TAG}` = '{outputs_digest}' and attributes.status = 'FINISHED'"
        return bool(client.search_runs([experiment_id], query, ViewType.ACTIVE_ONLY, max_results=1))


def is_finished(run_id: str, experiment_id: str, tag: str) -> bool:
    """Return whether this run is finished, or another whose `tag` says that it replaces this one.

    Raises:
        TrackingError: The store cannot be used.
    """
    client, _ = connect()
    with translate_errors():
        either = (f"attributes.run_id = '{run_id}'", f"tags.{tag} = '{run_id}'")
        return any(
            client.search_runs([experiment_id], f"attributes.status = 'FINISHED' and {query}") for query in either
        )


def delete_duplicates(client: mlflow.MlflowClient, experiment_id: str, tags: Mapping[str, str], digest: str) -> None:
    """Delete finished runs with the same outputs of the DVC stage that `tags` name, if they name one.

    DVC also repeats a stage that was killed between the end of its run and DVC's taking note of it. Runs made in
    other copies of the project stay.
    """
    same = ("dvc.stage", "dvc.exp_name", "dvc.root")
    if not (stage := tags.get("dvc.stage")):
        return
    query = f"attributes.status = 'FINISHED' and tags.`{OUTPUTS_TAG}` = '{digest}' and tags.`dvc.stage` = '{stage}'"
    for run in client.search_runs([experiment_id], query):
        if all(run.data.tags.get(name) == tags.get(name) for name in same):
            children = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run.info.run_id}'"
            for old in (run, *_all(client, [experiment_id], children)):
                client.delete_run(old.info.run_id)
            for model in run.outputs.model_outputs if run.outputs else ():
                client.delete_logged_model(model.model_id)


def _experiment(client: mlflow.MlflowClient, name: str) -> str:
    """Return an experiment's id; a missing one is made, by whichever client comes first."""
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    try:
        return client.create_experiment(name)
    except MlflowException:
        if found := client.get_experiment_by_name(name):
            return found.experiment_id
        raise


def _make(address: str) -> None:
    mlflow.MlflowClient(address).get_experiment(DEFAULT_EXPERIMENT)


@functools.cache
def _end_orphaned_runs(address: str) -> None:
    """End, once in this process, the runs that killed processes have left running."""
    client = mlflow.MlflowClient(address)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = "attributes.status = 'RUNNING' and tags.`{}` LIKE '{}%'"
    path = sqlite.path_of(address)
    for run in list(_all(client, experiments, running.format(PROCESS_TAG, process.machine() + " "))):
        if process.is_dead(run.data.tags[PROCESS_TAG]):
            client.set_terminated(run.info.run_id, "KILLED")
    if path:  # `mlflow run` starts a run before there is a process that could put its name on it
        for run in list(_all(client, experiments, running.format(MLFLOW_PROJECT_ENTRY_POINT, ""))):
            waiting = PROCESS_TAG not in run.data.tags and run.info.run_id != os.environ.get("MLFLOW_RUN_ID")
            if waiting and not process.is_open_elsewhere(path, run.info.start_time / 1000):
                client.set_terminated(run.info.run_id, "KILLED")


def _all(client: mlflow.MlflowClient, experiments: list[str], query: str) -> Iterator[Run]:
    """Yield all runs that a query finds, page after page."""
    token = None
    while token != "":
        found = client.search_runs(experiments, query, page_token=token)
        yield from found
        token = found.token or ""
