"""Registered models: one version of each different model, and the alias `current` on the latest.

Concurrent runs that register equal models may both make a version; each then looks again, and the later one goes.
"""

import hashlib
from collections.abc import Collection, Iterator

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from .contents import ModelFiles
from .shared import shared

ALIAS = "current"  # MLflow keeps `latest` for itself
DIGEST_TAG = "digest"
SEARCHED = 1000  # versions in one request


@shared
def register(client: mlflow.MlflowClient, run_id: str, model_id: str, model: ModelFiles) -> None:
    """Give a logged model a version, unless an equal one has it, and the alias."""
    name, digest = model.registered, digest_of(model)
    _ensure(client, name)
    if not (equal := _equal(client, name, digest)):
        client.create_model_version(
            name,
            f"models:/{model_id}",
            run_id,
            tags={DIGEST_TAG: digest, **{key: f"{value:.6g}" for key, value in model.metrics.items()}},
            description=model.note,
            await_creation_for=0,
            model_id=model_id,
        )
        equal = _equal(client, name, digest)
    first, *later = equal
    for version in later:
        if version.run_id == run_id:
            client.delete_model_version(name, version.version)
    client.set_registered_model_alias(name, ALIAS, first.version)


def digest_of(model: ModelFiles) -> str:
    """Return a SHA-256 over the names and contents of a model's files."""
    parts = [name.encode() + hashlib.sha256(content).digest() for name, content in sorted(model.files.items())]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def is_untouched(version: ModelVersion, metrics: Collection[str]) -> bool:
    """Return whether a version of a model with these metrics has no aliases and tags but those of `register`."""
    tags = version.tags.keys()
    return DIGEST_TAG in tags and tags <= {DIGEST_TAG, *metrics} and set(version.aliases) <= {ALIAS}


def _ensure(client: mlflow.MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _equal(client: mlflow.MlflowClient, name: str, digest: str) -> list[ModelVersion]:
    """Return the versions of equal models, the first one first."""
    return sorted(
        (version for version in _versions(client, name) if version.tags.get(DIGEST_TAG) == digest),
        key=lambda version: int(version.version),
    )


def _versions(client: mlflow.MlflowClient, name: str) -> Iterator[ModelVersion]:
    token = None
    while token != "":
        found = client.search_model_versions(f"name = '{name}'", max_results=SEARCHED, page_token=token)
        yield from found
        token = found.token or ""
