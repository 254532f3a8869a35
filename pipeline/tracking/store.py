"""MLflow's store: where it is, a client of it, and what it has. Who connects ends the runs of processes that are dead.

It is at MLFLOW_TRACKING_URI or, without it, in `mlflow.db` and `mlruns/` in the repository root, where `mlflow ui`
looks.
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

from pipeline import processes
from pipeline.tracking import contact, sqlite
from pipeline.tracking.contact import StoreError
from pipeline.tracking.provenance import PROCESS_TAG

DEFAULT_EXPERIMENT = "0"
OUTPUTS_TAG = "digest.outputs"

for _noisy in ("mlflow.store.db.utils", "urllib3"):  # what they have to say is raised as well
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Be patient with the store within, and make whatever it raises a StoreError of one line."""
    with contact.limits(contact.PATIENT):
        try:
            yield
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise StoreError(f"MLflow at {uri()}: {contact.cause(error)}") from error


def uri() -> str:
    """Return the address of the store. DVC runs queued experiments in a copy: `DVC_ROOT` is the true root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}"


def root() -> Path:
    """Return the folder of the project, also from the copy in which DVC runs a queued experiment."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def connect(named: str | None = None) -> tuple[mlflow.MlflowClient, str]:
    """Return a client and the id of the experiment, which is made if it is `named` and missing.

    The store puts artifacts beside the folder it is first opened in.

    Raises:
        StoreError: the store cannot be used.
    """
    with contact.limits(contact.BRIEF), errors(), contextlib.chdir(root()):
        if path := sqlite.path_of(uri()):
            sqlite.prepare(path, _make)
        mlflow.set_tracking_uri(uri())
        client = mlflow.MlflowClient()
        _end_the_dead(uri())
        experiment = None if named else os.environ.get("MLFLOW_EXPERIMENT_ID")
        if not experiment and (name := named or os.environ.get("MLFLOW_EXPERIMENT_NAME")):
            experiment = _experiment(client, name)
        return client, client.get_experiment(experiment or DEFAULT_EXPERIMENT).experiment_id


def recorded(outputs_digest: str, experiment: str | None = None) -> bool:
    """Return whether the store has a finished run with these outputs.

    Raises:
        StoreError: the store cannot be used.
    """
    client, experiment_id = connect(experiment)
    with errors():
        query = f"tags.`{OUTPUTS_TAG}` = '{outputs_digest}' and attributes.status = 'FINISHED'"
        return bool(client.search_runs([experiment_id], query, ViewType.ACTIVE_ONLY, max_results=1))


def finished(run_id: str, experiment_id: str, tag: str) -> bool:
    """Return whether this run is finished, or one that says by its `tag` that it is in the place of this one.

    Raises:
        StoreError: the store cannot be used.
    """
    client, _ = connect()
    with errors():
        either = (f"attributes.run_id = '{run_id}'", f"tags.{tag} = '{run_id}'")
        return any(
            client.search_runs([experiment_id], f"attributes.status = 'FINISHED' and {query}") for query in either
        )


def remove_equal(client: mlflow.MlflowClient, experiment_id: str, tags: Mapping[str, str], digest: str) -> None:
    """Delete finished runs of the DVC stage that `tags` name, if they name one, that have the same outputs.

    DVC runs a stage anew, too, when something was killed between the end of its run and DVC's taking note of it. What
    others have run, in another copy of the project, stays.
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
    """Return the experiment's id; it is made if it is missing, by one of the clients that find it so."""
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
def _end_the_dead(address: str) -> None:
    """End, once in this process, the runs that processes which were killed have left running."""
    client = mlflow.MlflowClient(address)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = "attributes.status = 'RUNNING' and tags.`{}` LIKE '{}%'"
    path = sqlite.path_of(address)
    for run in list(_all(client, experiments, running.format(PROCESS_TAG, processes.machine() + " "))):
        if processes.gone(run.data.tags[PROCESS_TAG]):
            client.set_terminated(run.info.run_id, "KILLED")
    if path:  # `mlflow run` starts a run before there is a process that could put its name on it
        for run in list(_all(client, experiments, running.format(MLFLOW_PROJECT_ENTRY_POINT, ""))):
            waiting = PROCESS_TAG not in run.data.tags and run.info.run_id != os.environ.get("MLFLOW_RUN_ID")
            if waiting and not processes.held(path, run.info.start_time / 1000):
                client.set_terminated(run.info.run_id, "KILLED")


def _all(client: mlflow.MlflowClient, experiments: list[str], query: str) -> Iterator[Run]:
    """Give all runs that the query finds, though there be more than a page of them."""
    token = None
    while token != "":
        found = client.search_runs(experiments, query, page_token=token)
        yield from found
        token = found.token or ""
