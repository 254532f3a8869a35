"""Runs in MLflow that always end, batches instead of single values, links to DVC and Git."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from numpy.typing import NDArray

from pipeline import processes
from pipeline.tracking import contact, provenance, store
from pipeline.tracking.contact import StoreError
from pipeline.tracking.provenance import PROCESS_TAG

BATCH = 1000  # metrics that MLflow accepts in one request

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Run:
    """A run under way, and what can be logged to it."""

    client: mlflow.MlflowClient
    run_id: str
    experiment_id: str
    common_tags: Mapping[str, str]

    @store.errors()
    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters that are not None; one that the run has (`mlflow run` logs what it was given) stays."""
        known = self.client.get_run(self.run_id).data.params
        given = {name: value for name, value in values.items() if name not in known}
        self.client.log_batch(self.run_id, params=_params(given))

    @store.errors()
    def metrics(self, values: Mapping[str, Points]) -> None:
        """Log points (step, value) of every metric, in as few requests as possible."""
        for batch in self._batches(values):
            self.client.log_batch(self.run_id, metrics=batch)

    @store.errors()
    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in values.items()])

    @store.errors()
    def image(self, key: str, step: int, pixels: NDArray[np.uint8]) -> None:
        """Log an image [height, width, 3] that the run's page shows with a step slider; `key` without slashes."""
        self.client.log_image(self.run_id, pixels, key=key, step=step)

    @store.errors()
    def files(self, paths: Sequence[Path], folder: str) -> None:
        """Log files as artifacts in a folder of the run."""
        for path in paths:
            self.client.log_artifact(self.run_id, str(path), folder)

    @store.errors()
    def text(self, content: str, name: str) -> None:
        """Log a text as an artifact."""
        self.client.log_text(self.run_id, content, name)

    @store.errors()
    def dataset(self, name: str, digest: str, context: str, profile: str) -> None:
        """Log an input: `context` is what it was used for."""
        entity = Dataset(name, digest[:12], "local", digest, profile=profile)
        self.client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])

    @store.errors()
    def experiment_tag(self, name: str, value: str) -> None:
        """Set a tag of the experiment."""
        self.client.set_experiment_tag(self.experiment_id, name, value)

    @store.errors()
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
            code_paths=[str(Path(__file__).parents[1])],
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
            with store.errors():
                first, *rest = run._batches(metrics)
                self.client.log_batch(run.run_id, metrics=first, params=_params(params))
                for batch in rest:
                    self.client.log_batch(run.run_id, metrics=batch)
        return run

    @store.errors()
    def replace(self, digest: str) -> None:
        """Delete finished runs of the same DVC stage that have the same outputs."""
        store.remove_equal(self.client, self.experiment_id, self.common_tags, digest)

    @store.errors()
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
    client, experiment_id = store.connect(experiment)
    all_tags = {**provenance.tags(), **tags}
    given = None if experiment else os.environ.get("MLFLOW_RUN_ID")
    if not given:
        with _created(client, experiment_id, name + provenance.suffix(), all_tags) as run:
            yield run
        return
    with store.errors():
        info = client.get_run(given).info
    with _ended(Run(client, given, info.experiment_id, all_tags)) as run:
        run.tags(all_tags)
        with store.errors():
            client.update_run(given, name=f"{name} [{info.run_name}]")
        yield run


@contextlib.contextmanager
def again(name: str, tags: Mapping[str, str], experiment_id: str) -> Iterator[Run]:
    """Start a run in the place of one that could not be ended whole, with that one's tags.

    Raises:
        StoreError: the store cannot be used.
    """
    client, _ = store.connect()
    with _created(client, experiment_id, name, {**tags, PROCESS_TAG: processes.own()}) as run:
        yield run


@contextlib.contextmanager
def _created(client: mlflow.MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Start a run, and end it: a signal that comes between the two would leave it running."""
    with contextlib.ExitStack() as stack:
        with processes.deferred(), store.errors():
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
