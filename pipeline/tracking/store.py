"""MLflow's store: a client of it, its experiments, and which runs it has.

Connecting also ends runs whose process has died, and mends the places of artifacts.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Iterable, Iterator

import mlflow
import mlflow.store.db.utils
from mlflow.entities import LifecycleStage, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from . import advice, embedded, place, process, reach, sqlite
from .embedded import DEFAULT_EXPERIMENT, OUTPUTS_TAG
from .errors import BRIEF, PATIENT, QUIET, TrackingError, variables
from .provenance import PROCESS_TAG
from .shared import shared

mlflow.store.db.utils.MAX_RETRY_COUNT = 2  # MLflow's ten take minutes
for _noisy in ("mlflow.store.db.utils", "urllib3"):  # what they have to say is raised as well
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise TrackingError, in one line, for whatever MLflow, its database or the network raises."""
    with variables({**PATIENT, **QUIET}):
        try:
            yield
        except TrackingError:
            raise
        except Exception as error:
            text = f"MLflow at {place.uri()}: {advice.explain(error, place.uri())}"
            refused = advice.is_refusal(error)
            raise TrackingError(place.without_password(text), refused=refused) from error


def connect(named: str | None = None) -> tuple[mlflow.MlflowClient, str]:
    """Return a client and the id of an experiment: the one `named`, which is made if it is missing, or the current one.

    Raises:
        TrackingError: The store or the experiment cannot be used.
    """
    with variables(BRIEF), translate_errors():
        place.check()
        client = _client(place.uri())
        experiment = client.get_experiment(_experiment(client, named))
        if experiment.lifecycle_stage == LifecycleStage.DELETED:
            raise TrackingError(
                f"MLflow at {place.name()}: the experiment {experiment.name!r} was deleted; restore it: "
                f"MLFLOW_TRACKING_URI={place.name()} mlflow experiments restore --experiment-id "
                f"{experiment.experiment_id}; or name another by MLFLOW_EXPERIMENT_NAME"
            )
        reach.artifacts(experiment.artifact_location, place.without_password(place.uri()))
        return client, experiment.experiment_id


def set_experiment_tag(experiment: str, name: str, value: str) -> None:
    """Set a tag of an experiment, which is made if it is missing.

    Raises:
        TrackingError: It cannot be written.
    """
    client, experiment_id = connect(experiment)
    with variables(BRIEF), translate_errors():
        shared(client.set_experiment_tag)(experiment_id, name, value)


def has_run(outputs_digest: str, experiment: str | None = None) -> bool:
    """Return whether an experiment, by default the current one, has a finished run with these outputs.

    Raises:
        TrackingError: The store cannot be used.
    """
    client, experiment_id = connect(experiment)
    with translate_errors():
        return bool(client.search_runs([experiment_id], finished(outputs_digest), ViewType.ACTIVE_ONLY, max_results=1))


def finished(outputs_digest: str) -> str:
    """Return the query for finished runs with these outputs."""
    quote = '"' if "'" in outputs_digest else "'"  # it may hold the name of a folder
    return f"tags.`{OUTPUTS_TAG}` = {quote}{outputs_digest}{quote} and attributes.status = 'FINISHED'"


def is_active(client: mlflow.MlflowClient, experiment_id: str) -> bool:
    """Return whether an experiment is there and was not deleted.

    Raises:
        TrackingError: The store cannot be used.
    """
    try:
        with translate_errors():
            return str(client.get_experiment(experiment_id).lifecycle_stage) == LifecycleStage.ACTIVE
    except TrackingError as error:
        if error.refused:
            return False
        raise


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


def search(client: mlflow.MlflowClient, experiments: list[str], query: str) -> Iterator[Run]:
    """Yield all runs that a query finds, page after page."""
    token = None
    while token != "":
        found = client.search_runs(experiments, query, page_token=token)
        yield from found
        token = found.token or ""


def oldest_first(runs: Iterable[Run]) -> list[Run]:
    """Return runs in the order in which they were started."""
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _client(address: str) -> mlflow.MlflowClient:
    """Open the store; one in SQLite has its artifacts beside its file, whatever the working directory."""
    path = place.path_of(address)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        reach.database(address)
    with contextlib.chdir(path.parent if path else place.root()):
        if path:
            sqlite.ensure(path, _make)
        mlflow.set_tracking_uri(address)
        client = mlflow.MlflowClient()
        _end_orphaned_runs(address)
    if path:
        embedded.look_over(path)
    return client


def _experiment(client: mlflow.MlflowClient, named: str | None) -> str:
    """Return an experiment's id; a missing one is made, by whichever client comes first."""
    if not named and (given := os.environ.get("MLFLOW_EXPERIMENT_ID")):
        return given
    name = named or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    try:
        if not name:
            return str(client.get_experiment(DEFAULT_EXPERIMENT).experiment_id)
        return _found(client, name) or str(client.create_experiment(name))
    except MlflowException as error:
        if name and (found := _found(client, name)):
            return found
        if not advice.is_refusal(error):
            raise
        raise TrackingError(
            f"MLflow at {place.name()}: no experiment {name or DEFAULT_EXPERIMENT!r}: {advice.cause(error)}; name one "
            "that this server allows by MLFLOW_EXPERIMENT_NAME (Databricks: an absolute name, such as /Users/ME/NAME)"
        ) from error


def _found(client: mlflow.MlflowClient, name: str) -> str | None:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id) if found else None


def _make(address: str) -> None:
    mlflow.MlflowClient(address).get_experiment(DEFAULT_EXPERIMENT)


@functools.cache
def _end_orphaned_runs(address: str) -> None:
    """End, once in this process, the runs that killed processes have left running."""
    client = mlflow.MlflowClient(address)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = "attributes.status = 'RUNNING' and tags.`{}` LIKE '{}%'"
    path = place.path_of(address)
    for run in list(search(client, experiments, running.format(PROCESS_TAG, process.machine() + " "))):
        if process.is_dead(run.data.tags[PROCESS_TAG]):
            _kill(client, run)
    if path:  # `mlflow run` starts a run before there is a process that could put its name on it
        for run in list(search(client, experiments, running.format(MLFLOW_PROJECT_ENTRY_POINT, ""))):
            waiting = PROCESS_TAG not in run.data.tags and run.info.run_id != os.environ.get("MLFLOW_RUN_ID")
            if waiting and not process.is_open_elsewhere(path, run.info.start_time / 1000):
                _kill(client, run)


def _kill(client: mlflow.MlflowClient, run: Run) -> None:
    """End a run whose process is gone, unless it was ended, or taken over by another process, since it was found."""
    try:
        now = client.get_run(run.info.run_id)
        if now.info.status == "RUNNING" and now.data.tags.get(PROCESS_TAG) == run.data.tags.get(PROCESS_TAG):
            client.set_terminated(run.info.run_id, "KILLED")
    except MlflowException as error:  # it may be another user's
        if not advice.is_refusal(error):
            raise
