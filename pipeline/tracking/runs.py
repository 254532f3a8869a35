"""Runs in MLflow that always end, and what can be logged to them, in batches instead of single values."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import DatasetInput, InputTag, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from numpy.typing import NDArray

from . import advice, current, duplicates, place, process, provenance, store
from .calls import Call, logs
from .contents import DataSet, ModelFiles
from .errors import BRIEF, TrackingError, variables
from .shared import shared
from .values import Points, batches, dataset_entity, param_entities

_known: set[str] = set()  # the runs of this process


@dataclass
class Run:
    """A run under way.

    With a journal, every call is noted there, and work is not broken off when the store fails: the first error is
    kept as `outage`, and nothing more is sent. Parts that the store refuses are `left_out`, and the rest is sent.

    While work goes on, points can be sent that are part of the record: they are in no journal, and `log_metrics` and
    `log_child` leave out what was `sent`, here and in the nested runs that are `live`.
    """

    client: mlflow.MlflowClient
    run_id: str
    experiment_id: str
    common_tags: Mapping[str, str]
    journal: list[Call] | None = None
    outage: TrackingError | None = field(default=None, init=False)
    ended: bool = field(default=False, init=False)
    left_out: set[str] = field(default_factory=set, init=False)
    live: "dict[str, Run]" = field(default_factory=dict, init=False)
    sent: set[tuple[str, int]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        _known.add(self.run_id)

    @contextlib.contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Log what the store may refuse without harm to the rest.

        Raises:
            TrackingError: The store cannot be used.
        """
        try:
            with _undivided(), store.translate_errors():
                yield
        except TrackingError as error:
            if not error.refused:
                raise
            if what not in self.left_out:
                print(f"not recorded: {what}: {error}", file=sys.stderr)
            self.left_out.add(what)

    @logs("the parameters")
    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters that are not None; one that the run already has (`mlflow run` logs its own) stays."""
        known = self.client.get_run(self.run_id).data.params
        new = {name: value for name, value in values.items() if name not in known}
        params = param_entities(new)
        try:
            self.client.log_batch(self.run_id, params=params)
        except MlflowException as error:
            if not advice.is_refusal(error):
                raise
            for param in params:  # one may be too long
                with self.part(f"parameter {param.key}"):
                    self.client.log_batch(self.run_id, params=[param])

    @logs("metrics")
    def log_metrics(self, values: Mapping[str, Points]) -> None:
        """Log points (step, value) of every metric, in as few requests as possible."""
        for batch in batches(values, self.sent):
            self.client.log_batch(self.run_id, metrics=batch)

    def log_live(self, values: Mapping[str, Points]) -> None:
        """Send points (step, value) of work that is under way, each once.

        Raises:
            TrackingError: The store cannot be used, or refuses them.
        """
        with _undivided(), variables(BRIEF), store.translate_errors():
            for batch in filter(None, batches(values, self.sent)):
                self.client.log_batch(self.run_id, metrics=batch)
                self.sent |= {(metric.key, metric.step) for metric in batch}

    def live_child(self, name: str, tags: Mapping[str, str]) -> "Run":
        """Return the nested run of this name of work that is under way; it ends with `log_child` or with this run.

        Raises:
            TrackingError: The store cannot be used.
        """
        if name not in self.live:
            with process.defer_signals(), variables(BRIEF), store.translate_errors():
                all_tags = {**self.common_tags, **tags, MLFLOW_PARENT_RUN_ID: self.run_id}
                created = self.client.create_run(self.experiment_id, tags=all_tags, run_name=name)
                self.live[name] = Run(self.client, created.info.run_id, self.experiment_id, all_tags)
        return self.live[name]

    @logs("tags")
    def set_tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in values.items()])

    @logs("the experiment's view")
    @shared
    def set_experiment_tag(self, name: str, value: str) -> None:
        """Set a tag of the run's experiment."""
        self.client.set_experiment_tag(self.experiment_id, name, value)

    @logs("the experiment's description")
    @shared
    def describe_experiment(self, text: str) -> None:
        """Describe the run's experiment, in Markdown, unless somebody has."""
        if not self.client.get_experiment(self.experiment_id).tags.get(MLFLOW_RUN_NOTE):
            self.client.set_experiment_tag(self.experiment_id, MLFLOW_RUN_NOTE, text)

    @logs("pictures")
    def log_image(self, key: str, step: int, pixels: NDArray[np.uint8]) -> None:
        """Log an image [height, width, 3] that the run's page shows with a step slider; `key` has no slashes."""
        self.client.log_image(self.run_id, pixels, key=key, step=step)

    @logs("files")
    def log_artifacts(self, paths: Sequence[Path], folder: str) -> None:
        """Log files as artifacts in a folder of the run."""
        for path in paths:
            with self.part(f"{folder}/{path.name}"):
                self.client.log_artifact(self.run_id, str(path), folder)

    @logs("a text")
    def log_text(self, content: str, name: str) -> None:
        """Log a text as an artifact."""
        self.client.log_text(self.run_id, content, name)

    @logs("the data set")
    @shared
    def log_input(self, data: DataSet, context: str) -> None:
        """Log a data set, and what it was used for."""
        tags = [InputTag("mlflow.data.context", context)]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset_entity(data), tags)])

    @logs("the model")
    def log_model(self, files: ModelFiles) -> None:
        """Log a model, and register it if the store has a registry."""
        from . import model, registry  # `mlflow.pyfunc` takes a tenth of a second

        model_id = model.log(self.client, self.run_id, files)
        with self.part("the registered model"):
            registry.register(self.client, self.run_id, model_id, files)

    @logs("nested runs")
    def log_child(
        self,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, Points],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log a nested run, whole; besides its own `tags` it has the common ones."""
        all_tags = {**self.common_tags, **(tags or {}), MLFLOW_PARENT_RUN_ID: self.run_id}
        begun = self.live.pop(name, None)
        with _end(begun) if begun else _create(self.client, self.experiment_id, name, all_tags) as run:
            first, *rest = batches(metrics, run.sent)
            self.client.log_batch(run.run_id, metrics=first, params=param_entities(params))
            for batch in rest:
                self.client.log_batch(run.run_id, metrics=batch)

    @logs("which run is the newest")
    def make_current(self, stage: str) -> None:
        """Tag this run as the newest of its stage, which the tag `stage` names, instead of others."""
        current.make(self.client, self.experiment_id, self.run_id, stage)

    @logs("the deletion of equal runs")
    def delete_duplicates(self, digest: str) -> None:
        """Delete finished runs of the same DVC stage with the same outputs, of which nobody has made anything."""
        duplicates.delete(self.client, self.run_id, digest)

    def end(self, status: str) -> None:
        """End the run.

        Raises:
            TrackingError: The store cannot be used.
        """
        with store.translate_errors():
            self.client.set_terminated(self.run_id, status)
        self.ended = True


@contextlib.contextmanager
def start_run(
    name: str, tags: Mapping[str, str], experiment: str | None = None, journal: list[Call] | None = None
) -> Iterator[Run]:
    """Start a run, or resume the one that `mlflow run` has started; end it whatever happens.

    With the name of an `experiment`, which is made if it is missing, always start a new one there.

    Raises:
        TrackingError: The store cannot be used.
    """
    client, experiment_id = store.connect(experiment)
    all_tags = {**provenance.tags(), **tags}
    given = None if experiment else provenance.given_run()
    if not given:
        with _create(client, experiment_id, name + provenance.suffix(), all_tags, journal) as run:
            yield run
        return
    with store.translate_errors():
        info = client.get_run(given).info
    with _end(Run(client, given, info.experiment_id, all_tags, journal)) as run:
        with store.translate_errors():
            client.log_batch(given, tags=[RunTag(name, value) for name, value in all_tags.items()])
            client.update_run(given, name=f"{name} [{info.run_name}]")
        yield run


@contextlib.contextmanager
def replace_run(name: str, tags: Mapping[str, str], experiment_id: str) -> Iterator[Run]:
    """Start a run that replaces one that could not be ended whole, with that one's tags.

    It is in the same experiment or, if that was deleted meanwhile, in the current one.

    Raises:
        TrackingError: The store cannot be used.
    """
    client, current = store.connect()
    experiment = experiment_id if store.is_active(client, experiment_id) else current
    with _create(client, experiment, name, {**tags, provenance.PROCESS_TAG: process.identity()}) as run:
        yield run


def _undivided() -> contextlib.AbstractContextManager[None]:
    """Hold signals back from a call on an SQLite file: one in a transaction would leave it locked for the run's end."""
    return process.defer_signals() if place.path() else contextlib.nullcontext()


@contextlib.contextmanager
def _create(
    client: mlflow.MlflowClient,
    experiment_id: str,
    name: str,
    tags: Mapping[str, str],
    journal: list[Call] | None = None,
) -> Iterator[Run]:
    """Start a run, and end it: a signal that comes between the two would leave it running."""
    with contextlib.ExitStack() as stack:
        with process.defer_signals(), store.translate_errors():
            created = client.create_run(experiment_id, tags=dict(tags), run_name=name)
            run = stack.enter_context(_end(Run(client, created.info.run_id, experiment_id, tags, journal)))
        yield run


@contextlib.contextmanager
def _end(run: Run) -> Iterator[Run]:
    """End the run as FINISHED, FAILED or, when the process was asked to stop, KILLED."""
    status = "FAILED"
    try:
        yield run
        status = "FAILED" if run.outage else "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        with process.defer_signals():
            for child in run.live.values():
                _end_as(child, status)
            _end_as(run, status)
            if run.ended and MLFLOW_PARENT_RUN_ID not in run.common_tags and not place.path():
                _delete_twins(run)


def _delete_twins(run: Run) -> None:
    """Delete runs of which this process knows nothing: MLflow repeats a request to make one if the answer is late."""
    query = f"attributes.status = 'RUNNING' and tags.`{provenance.PROCESS_TAG}` = '{process.identity()}'"
    with contextlib.suppress(TrackingError), variables(BRIEF), store.translate_errors():
        for other in list(store.search(run.client, [run.experiment_id], query)):
            if other.info.run_id not in _known:
                run.client.delete_run(other.info.run_id)


def _end_as(run: Run, status: str) -> None:
    if status == "FINISHED":
        try:
            run.end(status)
        except TrackingError as error:
            if run.journal is None:
                raise
            run.outage = error
    else:  # the user is told why it has this status; the next command ends what cannot be ended now
        with contextlib.suppress(TrackingError), variables(BRIEF):
            run.end(status)
