"""A study's params.yaml: what is read, and the one line that a wrong one gets."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.dataset import Examples, Split
from pipeline.errors import UserError
from pipeline.params import Params, load
from pipeline.sweeps.grid import list_points, parse_grid
from pipeline.sweeps.outcome import Outcome
from pipeline.sweeps.result import Result
from pipeline.sweeps.study import Study, load_study
from tests.samples import PARAMS, ROOT, population


def written(tmp_path: Path, text: str) -> Path:
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
    study = load_study(written(tmp_path, text))
    assert study.name == "depth"
    assert study.grids == (("train.lr=log(1e-4,1,9)", "batch_size=60,2000", "model.activation=relu,tanh", "epochs=3"),)
    assert study.overrides == {"data.holdout": "10", "hidden": "5,4", "train.lr": "0.01"}


def test_setting_nothing_is_allowed(tmp_path: Path) -> None:
    folder = written(tmp_path, "grid: {lr: 0.1}")
    assert load_study(folder) == Study("depth", (("lr=0.1",),), {})
    (folder / "params.yaml").write_text("grid: {lr: 0.1}\nset:\n", encoding="utf-8")
    assert load_study(folder).overrides == {}


def test_the_name_is_the_folders_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written(tmp_path, "grid: {lr: 0.1}"))
    assert load_study(Path()).name == "depth"


def test_lists_in_a_list_are_values(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, "grid: {model.hidden: [[5], [6, 7]]}"))
    assert parse_grid(study.grids[0]) == {"model.hidden": ["[5]", "[6, 7]"]}


def test_a_study_may_sweep_several_grids(tmp_path: Path) -> None:
    folder = written(tmp_path, "grid: [{lr: '0.1,1', epochs: 2}, {lr: 1, epochs: '2,3'}]\nset: {seeds: [4]}")
    study = load_study(folder)
    assert study.grids == (("lr=0.1,1", "epochs=2"), ("lr=1", "epochs=2,3"))
    points = list_points(PARAMS, study.overrides, *map(parse_grid, study.grids))
    assert [tuple(point.values.values()) for point in points] == [("0.1", "2"), ("1", "2"), ("1", "3")]
    assert {point.params.train.seeds for point in points} == {(4,)}
    with pytest.raises(UserError, match=r"^grid: one varies train\.lr, another train\.epochs$"):
        list_points(PARAMS, {}, parse_grid(["lr=1"]), parse_grid(["epochs=1"]))


def test_a_study_may_measure_more_and_say_more(tmp_path: Path) -> None:
    folder = written(tmp_path, "grid: {lr: 0.1}\nprobe_every: 5\nprimary: main")
    (folder / "probe.py").write_text("def probe(population, split):\n    return lambda network: {}\n", encoding="utf-8")
    (folder / "report.py").write_text(
        "def report(results, params, steps, primary):\n    return steps, primary\n", encoding="utf-8"
    )
    study = load_study(folder)
    assert study.probe
    assert study.probe.every == 5
    assert study.own_report([probed(3), probed(4)], load(PARAMS)) == ([0, 5, 10, 15], "main")  # type: ignore[comparison-overlap]


def probed(measurements: int) -> Result:
    """A point at which a probe has measured so many times."""
    accuracy = np.zeros((1, 2))
    measured = {"norm": np.zeros((1, measurements))}
    outcome = Outcome(accuracy, accuracy, accuracy, accuracy[:, 0], accuracy[:, 0], accuracy[:, 0], measured)
    return Result(list_points(PARAMS, {}, {"lr": ["0.1"]})[0], {"plain": outcome})


def test_a_study_may_name_its_primary_outcome_and_its_margin(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, "grid: {lr: 0.1}\nprimary: best points\nmargin: 0.01"))
    assert study.primary == "best points"
    assert load(PARAMS, study.overrides).evaluate.margin == 0.01
    (tmp_path / "depth" / "params.yaml").write_text("grid: {lr: 0.1}\nprimary: 5", encoding="utf-8")
    with pytest.raises(UserError, match=r"primary = 5: should be the name of an outcome$"):
        load_study(tmp_path / "depth")


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("probe.py", "def probe(", "probe.py: '(' was never closed"),
        ("probe.py", "prepare = 1", "probe.py: should define a function probe()"),
        ("report.py", "report = None", "report.py: should define a function report()"),
        ("report.py", "\0", "report.py: source code string cannot contain null bytes"),
    ],
)
def test_wrong_code_is_one_line(tmp_path: Path, name: str, source: str, words: str) -> None:
    folder = written(tmp_path, "grid: {lr: 0.1}" + "\nprobe_every: 5" * (name == "probe.py"))
    (folder / name).write_text(source, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_study(folder)
    assert str(caught.value).startswith(f"{folder}/{words}")


def test_how_often_to_probe_is_checked(tmp_path: Path) -> None:
    folder = written(tmp_path, "grid: {lr: 0.1}\nprobe_every: 5")
    with pytest.raises(UserError, match=r"params\.yaml: probe_every = 5: there is no probe\.py beside it$"):
        load_study(folder)
    (folder / "probe.py").write_text("def probe(population, split): ...\n", encoding="utf-8")
    for every in (
        "0",
        "-1",
        "2.5",
        "true",
        "a",
        "null",
        "{}",
        "{100: 0}",
        "{a: 10}",
        "{2.5: 10}",
        "{100: {5: 1}}",
        "[5]",
    ):
        (folder / "params.yaml").write_text(f"grid: {{lr: 0.1}}\nprobe_every: {every}", encoding="utf-8")
        with pytest.raises(UserError, match=r"params\.yaml: probe_every = .*: should be a number of iterations, or "):
            load_study(folder)
    (folder / "params.yaml").write_text("grid: {lr: 0.1}\nprobe_every: {500: 5, 100: 10}", encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml: probe_every = .*: the last iterations should ascend$"):
        load_study(folder)


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        ("4", [0, 4, 8, 12]),
        ("13", [0]),
        ("{6: 2, 100: 5}", [0, 2, 4, 6, 10]),
        ("{1: 1, 7: 3, 9: 4}", [0, 1, 3, 6, 8]),
    ],
)
def test_what_lies_between_measurements_may_change(
    tmp_path: Path, params: Callable[..., Params], examples: Callable[..., Examples], every: str, steps: list[int]
) -> None:
    """Multiples of each interval, as far as it reaches and the training lasts: 3 epochs of 4 iterations."""
    folder = written(tmp_path, f"grid: {{lr: 0.1}}\nprobe_every: {every}")
    (folder / "probe.py").write_text("def probe(population, split):\n    return lambda network: {}\n", encoding="utf-8")
    probe = load_study(folder).probe
    assert probe
    described = population(params(epochs="3", batch_size="16"), "plain")
    probing = probe.probing(described, Split(examples(50), examples(5), examples(5)))
    assert sorted(probing.steps) == steps
    assert list(islice(probe.steps(), len(steps))) == steps


def test_null_is_set_as_null(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, "grid: {lr: 0.1}\nset: {data.directory: null}"))
    (point,) = list_points(PARAMS, study.overrides, parse_grid(study.grids[0]))
    assert point.params.data.directory is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected the section grid and, where needed, set, variants, primary, margin, refine, "),
        ("[1, 2]", "expected the section grid and, where needed, set, variants, primary, margin, refine, "),
        ("grid", "expected the section grid and, where needed, set, variants, primary, margin, refine, "),
        ("set: {lr: 0.1}", "expected the section grid and, where needed, set, variants, primary, margin, refine, "),
        (
            "grid: {lr: 0.1}\ntrain: {lr: 0.1}",
            "expected the section grid and, where needed, set, variants, primary, margin, refine, ",
        ),
        ("grid: 5", "grid = 5: should map parameters to values"),
        ("grid: {lr: 0.1}\nset: [1]", "set = [1]: should map parameters to values"),
        ("grid: {lr: 1", "cannot be read: "),
        ("grid: {lr: 1, lr: 2}", "cannot be read: "),
        ("grid: !!int x", "cannot be read: "),
        ("grid: {lr: " + "[" * 2000, "cannot be read: "),
    ],
    ids=lambda text: text[:24],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    folder = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_study(folder)
    assert str(caught.value).startswith(f"{folder}/params.yaml: {words}")
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_study(tmp_path / "nowhere")
    assert str(caught.value).startswith(f"{tmp_path}/nowhere/params.yaml: cannot be read: ")
    assert "No such file or directory" in str(caught.value)
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"params\.yaml: cannot be read: 'utf-8' codec") as caught:
        load_study(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", sorted(path.parent for path in (ROOT / "studies").glob("*/params.yaml")), ids=str)
def test_the_projects_studies_have_points(folder: Path) -> None:
    study = load_study(folder)
    assert len(list_points(PARAMS, study.overrides, *map(parse_grid, study.grids))) > 1
    assert study.primary
