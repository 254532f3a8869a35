"""Equal runs of one DVC stage: the newest replaces the others, unless somebody has made something of them."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from . import current, provenance, registry, store
from .embedded import OUTPUTS_TAG

if TYPE_CHECKING:
    from . import runs

MODEL_VERSIONS = "mlflow.modelVersions"  # on a logged model: its registered versions, in JSON
# Tags whose values differ between equal runs: they say when, where and by whom, or name runs and models.
_VOLATILE = {
    *provenance.NAMES,
    OUTPUTS_TAG,
    current.TAG,
    MLFLOW_PARENT_RUN_ID,
    "mlflow.log-model.history",
    "mlflow.runName",
    "resent",
    "restored",
}


def delete(client: mlflow.MlflowClient, run_id: str, digest: str) -> None:
    """Delete finished runs of the DVC stage of this run with the same outputs, if it is one of a DVC stage.

    DVC also repeats a stage that was killed between the end of its run and DVC's taking note of it. Runs made in
    other copies of the project stay, and those that somebody has renamed, described, tagged or registered a model of.
    A model that is registered stays, too: its version may be the current one.
    """
    new = client.get_run(run_id)
    same = ("dvc.stage", "dvc.exp_name", "dvc.root")
    if not (stage := new.data.tags.get("dvc.stage")):
        return
    query = f"attributes.status = 'FINISHED' and tags.`{OUTPUTS_TAG}` = '{digest}' and tags.`dvc.stage` = '{stage}'"
    for old in list(store.search(client, [new.info.experiment_id], query)):
        equal = all(old.data.tags.get(name) == new.data.tags.get(name) for name in same)
        if equal and old.info.run_id != run_id and not _is_touched(client, old, new):
            for run in (old, *_children(client, old)):
                client.delete_run(run.info.run_id)
            for model in _models(client, old):
                if MODEL_VERSIONS not in model.tags:
                    client.delete_logged_model(model.model_id)


def keep_first(run: "runs.Run", digest: str) -> None:
    """Delete all but the first of the finished runs with these outputs, which two processes have made at once.

    Each of them looks when its own is finished, so the one that looks last sees both.
    """
    with run.part("the deletion of equal runs"):
        found = store.search(run.client, [run.experiment_id], store.finished(digest))
        for equal in store.oldest_first(found)[1:]:
            for one in (equal, *_children(run.client, equal)):
                run.client.delete_run(one.info.run_id)


def _is_touched(client: mlflow.MlflowClient, old: Run, new: Run) -> bool:
    """Return whether a run, its nested runs or its models have what the pipeline does not give them."""
    if _own(old) != _own(new):
        return True
    children = [sorted(_own(run) for run in _children(client, parent)) for parent in (old, new)]
    models = _models(client, old)
    return (
        children[0] != children[1]
        or not all(registry.is_untouched(version, old.data.metrics) for version in _versions(client, old, models))
        or any(not name.startswith("mlflow.") for model in models for name in model.tags)
    )


def _models(client: mlflow.MlflowClient, run: Run) -> list[LoggedModel]:
    """Return a run's models but those that somebody has deleted."""
    models = []
    for output in run.outputs.model_outputs if run.outputs else ():
        try:
            models.append(client.get_logged_model(output.model_id))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
    return models


def _versions(client: mlflow.MlflowClient, run: Run, models: list[LoggedModel]) -> Iterator[ModelVersion]:
    """Yield the registered versions of a run's models, whether they were registered by the run or by the model."""
    found = {(one.name, str(one.version)) for one in client.search_model_versions(f"run_id = '{run.info.run_id}'")}
    for model in models:
        for one in json.loads(model.tags.get(MODEL_VERSIONS, "[]")):
            versions = client.search_model_versions(f"name = '{one['name']}'")
            found |= {
                (other.name, str(other.version)) for other in versions if str(other.version) == str(one["version"])
            }
    for name, number in found:
        yield client.get_model_version(name, number)  # a search tells no aliases


def _own(run: Run) -> tuple[str, list[tuple[str, str]]]:
    """Return a run's name and the tags that it shares with equal runs."""
    tags: Mapping[str, str] = run.data.tags
    return str(run.info.run_name), sorted((name, value) for name, value in tags.items() if name not in _VOLATILE)


def _children(client: mlflow.MlflowClient, run: Run) -> list[Run]:
    return list(store.search(client, [run.info.experiment_id], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run.info.run_id}'"))
