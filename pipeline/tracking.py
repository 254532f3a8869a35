"""The only importer of mlflow: runs that always end, batches instead of single values, links to DVC and Git.

Runs go to MLFLOW_TRACKING_URI or, without it, to `mlflow.db` and `mlruns/` in the repository root, where
`mlflow ui` looks. Inside `mlflow run` they go to the run that MLflow has started.
"""

import contextlib
import functools
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.entities import Run as Entity
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_PROJECT_ENTRY_POINT
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from pipeline import contact, context, database, processes
from pipeline.contact import StoreError
from pipeline.context import PROCESS_TAG

DEFAULT_EXPERIMENT = "0"
BATCH = 1000  # metrics that MLflow accepts in one request
OUTPUTS_TAG = "digest.outputs"

Points = Sequence[tuple[int, float]]

for _noisy in ("mlflow.store.db.utils", "urllib3"):  # what they have to say is raised as well
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    with contact.limits(contact.PATIENT):
        try:
            yield
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise StoreError(f"MLflow at {uri()}: {contact.cause(error)}") from error


@dataclass(frozen=True)
class Run:
    """A run under way, and what can be logged to it."""

    client: mlflow.MlflowClient
    run_id: str
    experiment_id: str
    common_tags: Mapping[str, str]

    @_store_errors()
    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters that are not None; one that the run has (`mlflow run` logs what it was given) stays."""
        known = self.client.get_run(self.run_id).data.params
        given = {name: value for name, value in values.items() if name not in known}
        self.client.log_batch(self.run_id, params=_params(given))

    @_store_errors()
    def metrics(self, values: Mapping[str, Points]) -> None:
        """Log points (step, value) of every metric, in as few requests as possible."""
        for batch in self._batches(values):
            self.client.log_batch(self.run_id, metrics=batch)

    @_store_errors()
    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in values.items()])

    @_store_errors()
    def image(self, key: str, step: int, pixels: NDArray[np.uint8]) -> None:
        """Log an image [height, width, 3] that the run's page shows with a step slider; `key` without slashes."""
        self.client.log_image(self.run_id, pixels, key=key, step=step)

    @_store_errors()
    def files(self, paths: Sequence[Path], folder: str) -> None:
        """Log files as artifacts in a folder of the run."""
        for path in paths:
            self.client.log_artifact(self.run_id, str(path), folder)

    @_store_errors()
    def text(self, content: str, name: str) -> None:
        """Log a text as an artifact."""
        self.client.log_text(self.run_id, content, name)

    @_store_errors()
    def dataset(self, name: str, digest: str, context: str, profile: str) -> None:
        """Log an input: `context` is what it was used for."""
        entity = Dataset(name, digest[:12], "local", digest, profile=profile)
        self.client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])

    @_store_errors()
    def experiment_tag(self, name: str, value: str) -> None:
        """Set a tag of the experiment."""
        self.client.set_experiment_tag(self.experiment_id, name, value)

    @_store_errors()
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
        logged = mlflow.initialize_logged_model(
            "model", self.run_id, params=self.client.get_run(self.run_id).data.params, experiment_id=self.experiment_id
        )
        # Not by `mlflow.start_run`, whose end would end this run before it is whole.
        Model.log(
            None,
            mlflow.pyfunc,
            run_id=self.run_id,
            model_id=logged.model_id,
            loader_module=loader,
            data_path=str(folder),
            code_paths=[str(Path(__file__).parent)],
            input_example=example,
            signature=signature,
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in packages],
        )
        for name, value in metrics.items():
            self.client.log_metric(self.run_id, name, value, model_id=logged.model_id)

    def child(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, Points]) -> "Run":
        """Log a nested run, whole."""
        with _created(
            self.client, self.experiment_id, name, {**self.common_tags, MLFLOW_PARENT_RUN_ID: self.run_id}
        ) as run:
            with _store_errors():
                first, *rest = run._batches(metrics)
                self.client.log_batch(run.run_id, metrics=first, params=_params(params))
                for batch in rest:
                    self.client.log_batch(run.run_id, metrics=batch)
        return run

    @_store_errors()
    def replace(self, digest: str) -> None:
        """Delete finished runs of the same DVC stage that have the same outputs.

        DVC runs a stage anew, too, when something was killed between the end of its run and DVC's taking note of it.
        """
        stage, experiment = (self.common_tags.get(name) for name in ("dvc.stage", "dvc.exp_name"))
        if not stage:
            return
        query = f"attributes.status = 'FINISHED' and tags.`{OUTPUTS_TAG}` = '{digest}' and tags.`dvc.stage` = '{stage}'"
        for run in self.client.search_runs([self.experiment_id], query):
            if run.data.tags.get("dvc.exp_name") == experiment:
                children = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run.info.run_id}'"
                for old in (run, *_all(self.client, [self.experiment_id], children)):
                    self.client.delete_run(old.info.run_id)
                for model in run.outputs.model_outputs if run.outputs else ():
                    self.client.delete_logged_model(model.model_id)

    @_store_errors()
    def end(self, status: str) -> None:
        """End the run."""
        self.client.set_terminated(self.run_id, status)

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
        StoreError: the store cannot be used.
    """
    client, experiment_id = _connect(experiment)
    all_tags = {**context.tags(), **tags}
    given = None if experiment else os.environ.get("MLFLOW_RUN_ID")
    if not given:
        with _created(client, experiment_id, name + context.suffix(), all_tags) as run:
            yield run
        return
    with _store_errors():
        info = client.get_run(given).info
    with _ended(Run(client, given, info.experiment_id, all_tags)) as run:
        run.tags(all_tags)
        with _store_errors():
            client.update_run(given, name=f"{name} [{info.run_name}]")
        yield run


@contextlib.contextmanager
def again(name: str, tags: Mapping[str, str], experiment_id: str) -> Iterator[Run]:
    """Start a run in the place of one that could not be ended whole, with that one's tags.

    Raises:
        StoreError: the store cannot be used.
    """
    client, _ = _connect()
    with _created(client, experiment_id, name, {**tags, PROCESS_TAG: processes.own()}) as run:
        yield run


def reach() -> None:
    """Check that the store can be used.

    Raises:
        StoreError: it cannot.
    """
    _connect()


def finished(run_id: str, experiment_id: str, tag: str) -> bool:
    """Return whether this run is finished, or one that says by its `tag` that it is in the place of this one.

    Raises:
        StoreError: the store cannot be used.
    """
    client, _ = _connect()
    with _store_errors():
        either = (f"attributes.run_id = '{run_id}'", f"tags.{tag} = '{run_id}'")
        return any(
            client.search_runs([experiment_id], f"attributes.status = 'FINISHED' and {query}") for query in either
        )


def recorded(outputs_digest: str, experiment: str | None = None) -> bool:
    """Return whether the store has a finished run with these outputs.

    Raises:
        StoreError: the store cannot be used.
    """
    client, experiment_id = _connect(experiment)
    with _store_errors():
        query = f"tags.`{OUTPUTS_TAG}` = '{outputs_digest}' and attributes.status = 'FINISHED'"
        return bool(client.search_runs([experiment_id], query, ViewType.ACTIVE_ONLY, max_results=1))


def uri() -> str:
    """Return the address of the store. DVC runs queued experiments in a copy: `DVC_ROOT` is the true root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}"


def root() -> Path:
    """Return the folder of the project, also from the copy in which DVC runs a queued experiment."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def _connect(named: str | None = None) -> tuple[mlflow.MlflowClient, str]:
    """Return a client and the experiment. The store puts artifacts beside the folder it is first opened in."""
    with contact.limits(contact.BRIEF), _store_errors(), contextlib.chdir(root()):
        if path := database.path_of(uri()):
            database.prepare(path, _make)
        mlflow.set_tracking_uri(uri())
        client = mlflow.MlflowClient()
        _end_the_dead(uri())
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


def _make(address: str) -> None:
    mlflow.MlflowClient(address).get_experiment(DEFAULT_EXPERIMENT)


@functools.cache
def _end_the_dead(address: str) -> None:
    """End, once in this process, the runs that processes which were killed have left running."""
    client = mlflow.MlflowClient(address)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = "attributes.status = 'RUNNING' and tags.`{}` LIKE '{}%'"
    path = database.path_of(address)
    for run in list(_all(client, experiments, running.format(PROCESS_TAG, processes.machine() + " "))):
        if processes.gone(run.data.tags[PROCESS_TAG]):
            client.set_terminated(run.info.run_id, "KILLED")
    if path:  # `mlflow run` starts a run before there is a process that could put its name on it
        for run in list(_all(client, experiments, running.format(MLFLOW_PROJECT_ENTRY_POINT, ""))):
            waiting = PROCESS_TAG not in run.data.tags and run.info.run_id != os.environ.get("MLFLOW_RUN_ID")
            if waiting and not processes.held(path, run.info.start_time / 1000):
                client.set_terminated(run.info.run_id, "KILLED")


def _all(client: mlflow.MlflowClient, experiments: list[str], query: str) -> Iterator[Entity]:
    """Give all runs that the query finds, though there be more than a page of them."""
    token = None
    while token != "":
        found = client.search_runs(experiments, query, page_token=token)
        yield from found
        token = found.token or ""


@contextlib.contextmanager
def _created(client: mlflow.MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Start a run, and end it: a signal that comes between the two would leave it running."""
    with contextlib.ExitStack() as stack:
        with processes.deferred(), _store_errors():
            started = client.create_run(experiment_id, tags=dict(tags), run_name=name)
            run = stack.enter_context(_ended(Run(client, started.info.run_id, experiment_id, tags)))
        yield run


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
        with processes.deferred():
            if status == "FINISHED":
                run.end(status)
            else:  # the user is told why it has this status; the next command ends what cannot be ended now
                with contextlib.suppress(StoreError), contact.limits(contact.BRIEF):
                    run.end(status)


def _params(values: Mapping[str, Any]) -> list[Param]:
    return [Param(name, _text(value)) for name, value in values.items() if value is not None]


def _text(value: Any) -> str:
    """Return a parameter as params.yaml and the command line write it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
