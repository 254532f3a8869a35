"""A study's params.yaml: what is read, and the one line that a wrong one gets."""

from pathlib import Path

import pytest
from closure import ROOT
from conftest import PARAMS

from pipeline import grid, studies
from pipeline.errors import UserError


def study(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "depth"
    folder.mkdir()
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_study_is_its_name_its_grid_and_what_it_sets(tmp_path: Path) -> None:
    text = """
        set: {data.holdout: 10, hidden: [5, 4], train.lr: 1e-2}
        grid:
          train.lr: log(1e-4,1,9)
          batch_size: [60, 2000]
          model.activation: relu,tanh
          epochs: 3
    """
    found = studies.read(study(tmp_path, text))
    assert found.name == "depth"
    assert found.grids == (("train.lr=log(1e-4,1,9)", "batch_size=60,2000", "model.activation=relu,tanh", "epochs=3"),)
    assert found.overrides == {"data.holdout": "10", "hidden": "5,4", "train.lr": "0.01"}


def test_setting_nothing_is_allowed(tmp_path: Path) -> None:
    folder = study(tmp_path, "grid: {lr: 0.1}")
    assert studies.read(folder) == studies.Study("depth", (("lr=0.1",),), {}, None, None)
    (folder / "params.yaml").write_text("grid: {lr: 0.1}\nset:\n", encoding="utf-8")
    assert studies.read(folder).overrides == {}


def test_the_name_is_the_folders_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study(tmp_path, "grid: {lr: 0.1}"))
    assert studies.read(Path()).name == "depth"


def test_lists_in_a_list_are_values(tmp_path: Path) -> None:
    found = studies.read(study(tmp_path, "grid: {model.hidden: [[5], [6, 7]]}"))
    assert grid.read(found.grids[0]) == {"model.hidden": ["[5]", "[6, 7]"]}


def test_a_study_may_sweep_several_grids(tmp_path: Path) -> None:
    folder = study(tmp_path, "grid: [{lr: '0.1,1', epochs: 2}, {lr: 1, epochs: '2,3'}]\nset: {seeds: [4]}")
    found = studies.read(folder)
    assert found.grids == (("lr=0.1,1", "epochs=2"), ("lr=1", "epochs=2,3"))
    points = grid.points(PARAMS, found.overrides, *map(grid.read, found.grids))
    assert [tuple(point.values.values()) for point in points] == [("0.1", "2"), ("1", "2"), ("1", "3")]
    assert {point.params.train.seeds for point in points} == {(4,)}
    with pytest.raises(UserError, match=r"^grid: one varies train\.lr, another train\.epochs$"):
        grid.points(PARAMS, {}, grid.read(["lr=1"]), grid.read(["epochs=1"]))


def test_a_study_may_measure_more(tmp_path: Path) -> None:
    found = studies.read(study(tmp_path, "grid: {lr: 0.1}\nprobe: {name: landscape, every: 5}\nfindings: smooth"))
    assert found.findings == "smooth"
    assert found.probe == {"name": "landscape", "every": 5}


def test_null_is_set_as_null(tmp_path: Path) -> None:
    found = studies.read(study(tmp_path, "grid: {lr: 0.1}\nset: {data.directory: null}"))
    (point,) = grid.points(PARAMS, found.overrides, grid.read(found.grids[0]))
    assert point.params.data.directory is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected the section grid and, where needed, set, probe and findings"),
        ("[1, 2]", "expected the section grid and, where needed, set, probe and findings"),
        ("grid", "expected the section grid and, where needed, set, probe and findings"),
        ("set: {lr: 0.1}", "expected the section grid and, where needed, set, probe and findings"),
        ("grid: {lr: 0.1}\ntrain: {lr: 0.1}", "expected the section grid and, where needed, set, probe and findings"),
        ("grid: 5", "grid = 5: should map parameters to values"),
        ("grid: {lr: 0.1}\nset: [1]", "set = [1]: should map parameters to values"),
        ("grid: {lr: 0.1}\nprobe: landscape", "probe = 'landscape': should have a name and every how many iterations"),
        ("grid: {lr: 0.1}\nprobe: {name: landscape}", "probe = {'name': 'landscape'}: should have a name and every"),
        ("grid: {lr: 0.1}\nfindings: [1]", "findings = [1]: should be a name"),
        ("grid: {lr: 1", "cannot be read: "),
        ("grid: {lr: 1, lr: 2}", "cannot be read: "),
        ("grid: !!int x", "cannot be read: "),
        ("grid: {lr: " + "[" * 2000, "cannot be read: "),
    ],
    ids=lambda text: text[:24],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    folder = study(tmp_path, text)
    with pytest.raises(UserError) as caught:
        studies.read(folder)
    assert str(caught.value).startswith(f"{folder}/params.yaml: {words}")
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        studies.read(tmp_path / "nowhere")
    assert str(caught.value).startswith(f"{tmp_path}/nowhere/params.yaml: cannot be read: ")
    assert "No such file or directory" in str(caught.value)
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"params\.yaml: cannot be read: 'utf-8' codec") as caught:
        studies.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", sorted(path.parent for path in (ROOT / "studies").glob("*/params.yaml")), ids=str)
def test_the_projects_studies_have_points(folder: Path) -> None:
    found = studies.read(folder)
    assert len(grid.points(PARAMS, found.overrides, *map(grid.read, found.grids))) > 1
