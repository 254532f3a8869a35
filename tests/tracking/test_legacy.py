"""A former file store in mlruns/ is told of, and only where MLflow itself would take it for its store."""

from pathlib import Path

import pytest
from mlflow.tracking._tracking_service import utils

from pipeline.tracking import legacy


def mlflow_stops(root: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether MLflow takes `mlruns` for its default store, by its own rule."""
    monkeypatch.chdir(root)
    stops: bool = utils._has_existing_mlruns_data()
    return stops


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], None),
        (["mlruns/0/0123/artifacts/model/MLmodel", "mlruns/tracked.json"], None),
        (["mlruns/0/meta.yaml.old"], None),
        (["mlruns/models/meta.yaml"], None),
        (["mlruns/0/meta.yaml"], "mlruns/0/meta.yaml of MLflow's former file store: `mlflow ui` and `mlflow run` "),
        (["mlruns/12/meta.yaml", "mlruns/3/meta.yaml"], "mlruns/12/meta.yaml and 1 more of MLflow's former file store"),
    ],
)
def test_a_former_file_store(
    files: list[str], told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = legacy.warning(tmp_path)
    assert (found is not None) == mlflow_stops(tmp_path, monkeypatch) == (told is not None)
    if found and told:
        assert found.startswith(told)
        assert "\n" not in found
