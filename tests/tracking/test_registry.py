"""Registered models: one version of each different model, an alias on the latest, and stores without a registry."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.entities.model_registry import ModelVersion

from pipeline.tracking import registry, runs
from pipeline.tracking.contents import ModelFiles
from tests.refusals import refuse, write_package, zeros

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_package(tmp_path, monkeypatch)


def log(model: ModelFiles) -> runs.Run:
    with runs.start_run("r", {}) as run:
        run.log_model(model)
    return run


def model_of(package: Path, name: str, content: bytes = b"1") -> ModelFiles:
    return replace(zeros(package, content), registered=name)


def numbers(client: mlflow.MlflowClient, name: str) -> list[int]:
    return sorted(int(version.version) for version in client.search_model_versions(f"name = '{name}'"))


def test_a_version_has_its_own_numbers_and_loads_by_its_alias(client: mlflow.MlflowClient, package: Path) -> None:
    run = log(model_of(package, "loads"))
    version = client.get_model_version_by_alias("loads", registry.ALIAS)
    assert (version.run_id, version.description, version.tags["accuracy_of_model"]) == (run.run_id, "Zeros.", "0.75")
    loaded = mlflow.pyfunc.load_model(f"models:/loads@{registry.ALIAS}")
    assert loaded.predict(np.zeros((4, 3), np.float32), {"loud": True}).tolist() == [0] * 4
    assert loaded.metadata.run_id == run.run_id


def test_an_equal_model_makes_no_version_and_gets_the_alias_back(client: mlflow.MlflowClient, package: Path) -> None:
    for content in (b"1", b"1", b"2"):
        log(model_of(package, "equal", content))
    assert numbers(client, "equal") == [1, 2]
    assert int(client.get_model_version_by_alias("equal", registry.ALIAS).version) == 2
    log(model_of(package, "equal", b"1"))
    assert numbers(client, "equal") == [1, 2]
    assert int(client.get_model_version_by_alias("equal", registry.ALIAS).version) == 1


def test_of_two_that_register_an_equal_model_at_once_one_makes_the_version(
    client: mlflow.MlflowClient, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = mlflow.MlflowClient.create_model_version
    model = model_of(package, "twice")

    def overtaken(self: mlflow.MlflowClient, *given: object, **more: object) -> object:
        monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", inner)
        log(model)  # another process, between this one's look and its version
        return inner(self, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", overtaken)
    log(model)
    assert numbers(client, "twice") == [1]
    assert int(client.get_model_version_by_alias("twice", registry.ALIAS).version) == 1


@pytest.mark.parametrize("what", ["version", "model"])
def test_what_somebody_deletes_meanwhile_is_made_again(
    client: mlflow.MlflowClient, package: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    inner = registry._equal
    name = f"deleted-{what}"
    log(model_of(package, name))

    def delete(*given: Any) -> list[ModelVersion]:
        monkeypatch.setattr(registry, "_equal", inner)
        found = inner(*given)
        if what == "version":
            client.delete_model_version(name, found[0].version)
        else:
            client.delete_registered_model(name)
        return found

    monkeypatch.setattr(registry, "_equal", delete)
    run = log(model_of(package, name))
    assert run.left_out == set()
    assert client.get_model_version_by_alias(name, registry.ALIAS).run_id == run.run_id
    assert len(numbers(client, name)) == 1


def test_a_store_without_a_registry_has_the_rest(
    client: mlflow.MlflowClient, package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(monkeypatch, "create_registered_model")
    run = log(model_of(package, "nowhere"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("not recorded: the registered model: ")
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert mlflow.pyfunc.load_model(f"runs:/{run.run_id}/zeros").metadata.run_id == run.run_id
