"""Grids: the values that a text spans, the points of several keys, and the one line that a bad one gets."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline.errors import UserError
from pipeline.params import load
from pipeline.sweeps.grid import full_name, list_points, parse_grid, sweep_name
from tests.samples import PARAMS


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.01", ["0.01"]),
        ("0.001,0.01,0.1", ["0.001", "0.01", "0.1"]),
        ("0.1, 0.2", ["0.1", "0.2"]),
        ("60,2000", ["60", "2000"]),
        ("sigmoid,relu", ["sigmoid", "relu"]),
        ("[5],[6,7]", ["[5]", "[6, 7]"]),
        ("log(1e-3,1,4)", ["0.001", "0.01", "0.1", "1"]),
        ("log(1,1e-2,3)", ["1", "0.1", "0.01"]),
        ("log(1e-4,1e-2,5)", ["0.0001", "0.000316228", "0.001", "0.00316228", "0.01"]),
        ("log(2,32,5)", ["2", "4", "8", "16", "32"]),
        ("lin(0,1,5)", ["0", "0.25", "0.5", "0.75", "1"]),
        ("lin(-1,1,3)", ["-1", "0", "1"]),
        ("lin(60,2000,2)", ["60", "2000"]),
        ("lin(0.3,0.9,1)", ["0.3"]),
        ("log( 1 , 100 , 3 )", ["1", "10", "100"]),
    ],
)
def test_values(text: str, values: list[str]) -> None:
    assert parse_grid([f"train.lr={text}"]) == {"train.lr": values}


@pytest.mark.parametrize("key", ["directory", "data.directory"])
def test_folders_are_text(key: str) -> None:
    text = 'logs,007,true,~/own images,"a,b",linen,null'
    assert parse_grid([f"{key}={text}"])[key] == ["logs", "007", "true", "~/own images", "a,b", "linen", "null"]


def test_images_come_last_because_points_are_chosen_by_the_first_key() -> None:
    assert [*parse_grid(["directory=a", "data.dataset=mnist", "lr=1", "epochs=2"])] == [
        "lr",
        "epochs",
        "directory",
        "data.dataset",
    ]


def test_drawn_values_are_log_uniform_and_stay_when_more_are_drawn() -> None:
    few, many = (parse_grid([f"lr=random(1e-4,1,{count})"])["lr"] for count in (20, 200))
    assert set(few) < set(many)
    assert few == sorted(few, key=float)
    logarithms = np.log10(np.array(many, float))
    assert stats.kstest(logarithms, stats.uniform(-4, 4).cdf).pvalue > 0.01
    assert parse_grid(["lr=random(1e-4,1,20)"])["lr"] == few


def test_every_value_is_one_that_the_params_file_takes() -> None:
    read = parse_grid(["hidden=[5],[6,7]", "lr=log(1e-4,1,3)", "batch_size=60,2000", "optimizer=sgd"])
    points = [point.params for point in list_points(PARAMS, {}, read)]
    assert {params.model.hidden for params in points} == {(5,), (6, 7)}
    assert sorted({params.train.lr for params in points}) == [1e-4, 1e-2, 1]
    assert {params.train.batch_size for params in points} == {60, 2000}
    assert {params.train.optimizer for params in points} == {"sgd"}


def test_equals_signs_after_the_first_belong_to_the_values() -> None:
    assert parse_grid(["a=b=c"]) == {"a": ["b=c"]}


NOT_A_RANGE = "not a range; log(FIRST,LAST,COUNT) and random(…) have positive ends, lin(…) any; COUNT is 1 to 10,000"


@pytest.mark.parametrize(
    ("specifications", "words"),
    [
        ([], "grid: no key to vary; give --grid KEY=VALUES, such as --grid train.lr=0.01,0.1"),
        (["train.lr"], "grid 'train.lr': expected KEY=VALUES, such as train.lr=0.01,0.1"),
        (["=0.1"], "grid '=0.1': expected KEY=VALUES, such as train.lr=0.01,0.1"),
        (["lr="], "grid lr=: a value is empty"),
        (["directory=a,,b"], "grid directory=a,,b: a value is empty"),
        (["directory="], "grid directory=: a value is empty"),
        (["lr=,"], "grid lr: cannot be read: "),
        (["lr=1,,2"], "grid lr: cannot be read: "),
        (["hidden=[5"], "grid hidden: cannot be read: "),
        (["hidden=5]"], "grid hidden: cannot be read: "),
        (["lr=" + "9" * 5000], "grid lr: cannot be read: "),
        (["lr=2001-99-99"], "grid lr: cannot be read: month must be in 1..12"),
        (["lr=0.1", "lr=0.2"], "grid lr: given twice"),
        (["lr=log(a,1,3)"], f"grid lr=log(a,1,3): {NOT_A_RANGE}"),
        (["lr=lin(1,b,3)"], f"grid lr=lin(1,b,3): {NOT_A_RANGE}"),
        (["lr=log(1,2,c)"], f"grid lr=log(1,2,c): {NOT_A_RANGE}"),
        (["lr=log(1,2,0)"], f"grid lr=log(1,2,0): {NOT_A_RANGE}"),
        (["lr=lin(1,2,-3)"], f"grid lr=lin(1,2,-3): {NOT_A_RANGE}"),
        (["lr=lin(1,2,2.5)"], f"grid lr=lin(1,2,2.5): {NOT_A_RANGE}"),
        (["lr=log(0,1,3)"], f"grid lr=log(0,1,3): {NOT_A_RANGE}"),
        (["lr=log(1,-1,3)"], f"grid lr=log(1,-1,3): {NOT_A_RANGE}"),
        (["lr=lin(nan,1,3)"], f"grid lr=lin(nan,1,3): {NOT_A_RANGE}"),
        (["lr=lin(0,inf,3)"], f"grid lr=lin(0,inf,3): {NOT_A_RANGE}"),
        (["lr=log(1,2)"], f"grid lr=log(1,2): {NOT_A_RANGE}"),
        (["lr=log(1,2,3"], f"grid lr=log(1,2,3: {NOT_A_RANGE}"),
        (["lr=log(1,2,3),4"], f"grid lr=log(1,2,3),4: {NOT_A_RANGE}"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_bad_form_is_one_line(specifications: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_grid(specifications)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["[" * 2000, "!!bool x", "lin(-1.7e308,1.7e308,3)"], ids=["deep", "tag", "overflow"])
def test_what_cannot_be_built_is_one_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_grid([f"lr={text}"])
    assert "\n" not in str(caught.value)


SHARED = "all points share data.holdout, the seeds, the processor and how they are evaluated"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("speed", "9", "grid speed: not a parameter; choose from data.dataset, "),
        ("train", "9", "grid train: not a parameter; choose from data.dataset, "),
        ("model.lr", "0.1", "grid model.lr: not a parameter; choose from data.dataset, "),
        ("holdout", "10", f"grid data.holdout: {SHARED}"),
        ("seeds", "[1]", f"grid train.seeds: {SHARED}"),
        ("train.seeds", "[1]", f"grid train.seeds: {SHARED}"),
        ("threads", "1", f"grid train.threads: {SHARED}"),
        ("workers", "1", f"grid train.workers: {SHARED}"),
        ("device", "cpu", f"grid train.device: {SHARED}"),
        ("evaluate.confidence", "0.9", f"grid evaluate.confidence: {SHARED}"),
        ("margin", "0.1", f"grid evaluate.margin: {SHARED}"),
        ("digit", "1", f"grid evaluate.digit: {SHARED}"),
        ("lr", "null", "train.lr = None: should be a valid number"),
        ("data.dataset", "cifar", "data.dataset = 'cifar': should be 'mnist', "),
        ("lr", "-1", "train.lr = -1: should be greater than 0"),
        ("lr", "fast", "train.lr = 'fast': should be a valid number"),
        ("activation", "gelu", "model.activation = 'gelu': should be 'sigmoid', 'tanh' or 'relu'"),
        ("batch_size", "1.5", "train.batch_size = 1.5: "),
        ("hidden", "[5, 0]", "model.hidden.1 = 0: "),
    ],
)
def test_a_key_or_value_that_is_not_allowed_is_one_line(key: str, value: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        list_points(PARAMS, {}, {"epochs": ["1", "2"], key: [value]})
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_one_bad_value_among_good_ones_is_found() -> None:
    with pytest.raises(UserError, match=r"^train\.momentum = 1: should be less than 1$"):
        list_points(PARAMS, {}, {"momentum": ["0", "0.5", "1"], "lr": ["0.1", "0.2"]})


def test_a_key_that_two_sections_have_is_ambiguous() -> None:
    with pytest.raises(UserError, match=r"^grid lr: ambiguous; choose from model\.lr, train\.lr$"):
        full_name("lr", {"model.lr": 1, "train.lr": 2})


def test_a_key_under_both_its_names_is_given_twice() -> None:
    with pytest.raises(UserError, match=r"given twice"):
        list_points(PARAMS, {}, parse_grid(["lr=0.1", "train.lr=0.2"]))


def test_points_are_the_product_with_the_last_key_fastest() -> None:
    spans = {"lr": ["0.1", "0.2"], "model.hidden": ["[5]", "[6, 7]", "8"], "optimizer": ["adam", "sgd"]}
    points = list_points(PARAMS, {}, spans)
    assert len(points) == 2 * 3 * 2
    assert [tuple(point.values.values()) for point in points] == list(itertools.product(*spans.values()))
    assert {tuple(point.values) for point in points} == {("train.lr", "model.hidden", "train.optimizer")}
    assert points[1].values == {"train.lr": "0.1", "model.hidden": "[5]", "train.optimizer": "sgd"}
    for point in points:
        assert point.params.train.lr == float(point.values["train.lr"])
        assert point.params.train.optimizer == point.values["train.optimizer"]
        units = re.findall(r"\d+", point.values["model.hidden"])
        assert list(map(str, point.params.model.hidden)) == units


def test_a_point_has_every_other_parameter_from_the_file_and_the_overrides() -> None:
    (point,) = list_points(PARAMS, {"epochs": "3"}, {"train.lr": ["0.2"]})
    assert point.params == load(PARAMS, {"epochs": "3", "lr": "0.2"})


@pytest.mark.parametrize("key", ["lr", "train.lr"])
def test_a_key_of_the_grid_is_not_set_besides(key: str) -> None:
    with pytest.raises(UserError, match=rf"^grid train\.lr: also given as --{key} 0\.7$"):
        list_points(PARAMS, {key: "0.7"}, {"lr": ["0.2"]})


def test_points_that_are_written_differently_are_one() -> None:
    with pytest.raises(UserError, match=r"^grid: hidden=8 and hidden=\[8\] are the same point$"):
        list_points(PARAMS, {}, {"hidden": ["[8]", "8"]})
    points = list_points(PARAMS, {}, {"lr": ["0.1", "1"]}, {"train.lr": ["1.0", "2"]})
    assert [point.values["train.lr"] for point in points] == ["0.1", "1", "2"]


def name(grid: dict[str, list[str]], **overrides: str) -> str:
    return sweep_name(list_points(PARAMS, overrides, grid))


def test_a_name_has_the_keys_and_tells_points_apart() -> None:
    spans = {"train.lr": ["0.1", "0.2"], "model.hidden": ["[5]"]}
    assert re.fullmatch(r"lr-hidden-[0-9a-f]{6}", name(spans))
    others = [
        {"train.lr": ["0.1", "0.3"], "model.hidden": ["[5]"]},
        {"train.lr": ["0.2", "0.1"], "model.hidden": ["[5]"]},
        {"train.lr": ["0.1"], "model.hidden": ["[5]"]},
        {"train.lr": ["0.1", "0.2"]},
        {"train.epochs": ["1"]},
    ]
    assert len({name(grid) for grid in (spans, *others)}) == 6
    assert name(spans, epochs="3") != name(spans)


def test_a_name_is_the_same_however_the_grid_is_written() -> None:
    spans = {"train.lr": ["0.1"], "model.hidden": ["[5]"]}
    assert name({"lr": ["1e-1"], "hidden": ["5"]}) == name(spans) == name(spans, confidence="0.9")


def test_a_name_is_the_same_in_every_process() -> None:
    assert name(dict(parse_grid(["train.lr=0.01,0.1"]))) == "lr-6b9807"


def test_the_file_is_read_once_for_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = Path.read_text, list[Path]()

    def counted(path: Path, encoding: str) -> str:
        seen.append(path)
        return read(path, encoding)

    monkeypatch.setattr(Path, "read_text", counted)
    assert len(list_points(PARAMS, {}, {"lr": ["0.1", "0.2"]}, {"lr": ["0.3"]})) == 3
    assert seen == [PARAMS]


def test_points_do_not_inherit_one_anothers_values() -> None:
    first, second = list_points(PARAMS, {"epochs": "3"}, {"hidden": ["[5]", "[6, 7]"]})
    assert (first.params.model.hidden, second.params.model.hidden) == ((5,), (6, 7))
    assert list_points(PARAMS, {}, {"lr": ["0.2"]})[0].params == load(PARAMS, {"lr": "0.2"})
