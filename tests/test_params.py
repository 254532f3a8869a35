"""params.yaml: the defaults are the lab's, and whatever is wrong is told in one line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.params import Params, load

FILE = Path(__file__).parents[1] / "params.yaml"
TEXT = FILE.read_text(encoding="utf-8")
(HIDDEN,) = re.findall(r"^  hidden:.*(?:\n  - .*)+", TEXT, re.M)


def error(path: Path, overrides: dict[str, str] | None = None) -> str:
    """The one line with which loading fails."""
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


def error_in(folder: Path, text: str) -> str:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return error(path)


def test_the_defaults_are_the_labs() -> None:
    assert load(FILE).flat() == {
        "data.dataset": "mnist",
        "data.directory": None,
        "data.holdout": 0,
        "model.hidden": (100, 100),
        "model.activation": "sigmoid",
        "model.norm_position": "after_activation",
        "model.groups": 4,
        "model.ghost_batch": 0,
        "model.recentre": True,
        "model.rescale": True,
        "model.affine": True,
        "model.initial_deviation": None,
        "model.binary_input": False,
        "model.noise": False,
        "train.seeds": (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
        "train.epochs": 5,
        "train.batch_size": 2000,
        "train.validation_batch_size": 5000,
        "train.optimizer": "adam",
        "train.lr": 0.1,
        "train.momentum": 0.9,
        "train.weight_decay": 0.01,
        "train.weights": "all",
        "train.device": "auto",
        "train.threads": 1,
        "train.matmul_precision": "highest",
        "evaluate.confidence": 0.95,
        "evaluate.margin": 0.002,
        "evaluate.digit": 0,
    }


def test_nothing_can_be_changed_after_loading() -> None:
    params = load(FILE)
    with pytest.raises(ValidationError, match="frozen"):
        params.train.lr = 1.0
    with pytest.raises(ValidationError, match="frozen"):
        params.train = params.train
    assert isinstance(params.train.seeds, tuple)
    assert isinstance(params.model.hidden, tuple)


@pytest.mark.parametrize(("written", "value"), [("1e-05", 1e-5), ("1e-5", 1e-5), ("1.5e+2", 150.0), ("2", 2.0)])
def test_numbers_are_read_as_yaml_1_2_has_them(tmp_path: Path, written: str, value: float) -> None:
    (tmp_path / "p.yaml").write_text(TEXT.replace("lr: 0.1", f"lr: {written}"), encoding="utf-8")
    assert load(tmp_path / "p.yaml").train.lr == value
    assert load(FILE, {"lr": written}).train.lr == value


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lr: 0.1", "lr: 0.1\n  rate: 3", "train.rate: not a parameter; allowed: batch_size, device, epochs, lr, "),
        ("evaluate:", "extra: {a: 1}\nevaluate:", "extra: not a parameter; allowed: data, evaluate, model, train"),
        ("  lr: 0.1\n", "", "train.lr: missing"),
        ("train:", "trian:", "train: missing; trian: not a parameter"),
        ("evaluate:", "interval: 3\nevaluate:", "params.yaml: interval: not a parameter; allowed: data, "),
        ("train:", "train:\n  integer: 3", "train.integer: not a parameter; allowed: batch_size, device, "),
        ("evaluate:", '"a\\nb": 1\nevaluate:', "params.yaml: a b: not a parameter; allowed: data, "),
        ("lr: 0.1", "lr: fast", "train.lr = 'fast': should be a valid number"),
        ("lr: 0.1", "lr: true", "train.lr = True: should be a valid number"),
        ("lr: 0.1", "lr: '0.1'", "train.lr = '0.1': should be a valid number"),
        ("lr: 0.1", "lr: null", "train.lr = None: should be a valid number"),
        ("lr: 0.1", "lr: [0.1]", "train.lr = [0.1]: should be a valid number"),
        ("lr: 0.1", "lr: 0", "train.lr = 0: should be greater than 0"),
        ("lr: 0.1", "lr: -0.5", "train.lr = -0.5: should be greater than 0"),
        ("lr: 0.1", "lr: .nan", "train.lr = nan: should be a finite number"),
        ("lr: 0.1", "lr: .inf", "train.lr = inf: should be a finite number"),
        ("lr: 0.1", "lr: 1e999", "train.lr = inf: should be a finite number"),
        ("momentum: 0.9", "momentum: 1", "train.momentum = 1: should be less than 1"),
        ("momentum: 0.9", "momentum: -0.1", "train.momentum = -0.1: should be greater than or equal to 0"),
        ("decay: 0.01", "decay: -1", "train.weight_decay = -1: should be greater than or equal to 0"),
        ("epochs: 5", "epochs: true", "train.epochs = True: should be a valid integer"),
        ("epochs: 5", "epochs: 5.0", "train.epochs = 5.0: should be a valid integer"),
        ("epochs: 5", "epochs: 0", "train.epochs = 0: should be greater than or equal to 1"),
        ("batch_size: 2000", "batch_size: 0", "train.batch_size = 0: should be greater than or equal to 1"),
        ("holdout: 0", "holdout: -1", "data.holdout = -1: should be greater than or equal to 0"),
        ("directory:", "directory: 3 #", "data.directory = 3: should be a valid string"),
        ("directory:", "directory: '' #", "data.directory = '': String should have at least 1 character"),
        ("dataset: mnist", "dataset: cifar", "= 'cifar': should be 'mnist', 'fashion_mnist', 'kmnist' or 'custom'"),
        ("activation: sigmoid", "activation: gelu", "model.activation = 'gelu': should be 'sigmoid', 'tanh' or 'relu'"),
        ("n: after_activation", "n: no", "_position = 'no': should be 'after_activation' or 'before_activation'"),
        ("batch: 0", "batch: -1", "model.ghost_batch = -1: should be greater than or equal to 0"),
        ("weights: all", "weights: none", "train.weights = 'none': should be 'all' or 'norms'"),
        ("groups: 4", "groups: 0", "model.groups = 0: should be greater than or equal to 1"),
        (
            "optimizer: adam",
            "optimizer: lion",
            "train.optimizer = 'lion': should be 'adam', 'adamw', 'rmsprop' or 'sgd'",
        ),
        ("device: auto", "device: tpu", "train.device = 'tpu': should be 'auto', 'cpu' or 'cuda'"),
        ("threads: 1", "threads: 0", "train.threads = 0: should be greater than or equal to 1"),
        ("workers: auto", "workers: 0", "train.workers = 0: should be 'auto' or should be greater than or equal to 1"),
        ("threads: 1", "threads: all", "train.threads = 'all': should be a valid integer"),
        ("workers: auto", "workers: true", "train.workers = True: should be 'auto' or should be a valid integer"),
        (HIDDEN, "  hidden: []", "model.hidden = []: "),
        (HIDDEN, "  hidden: 100", "model.hidden = 100: should be a valid tuple"),
        (HIDDEN, "  hidden: [100, 0]", "model.hidden.1 = 0: should be greater than or equal to 1"),
        (HIDDEN, "  hidden: [true]", "model.hidden.0 = True: should be a valid integer"),
        (HIDDEN, "  hidden: [5.0]", "model.hidden.0 = 5.0: should be a valid integer"),
        (HIDDEN, "  hidden: ['5']", "model.hidden.0 = '5': should be a valid integer"),
        ("  - 2\n", "  - 1\n", "train.seeds = [0, 1, 1, 3, 4, 5, 6, 7, 8, 9]: every seed may appear only once"),
        ("  - 2\n", "  - -2\n", "train.seeds.2 = -2: should be greater than or equal to 0"),
        ("  - 2\n", "  - 2147483648\n", "train.seeds.2 = 2147483648: should be less than 2147483648"),
        ("  - 2\n", "  - true\n", "train.seeds.2 = True: should be a valid integer"),
        ("confidence: 0.95", "confidence: 1", "evaluate.confidence = 1: should be less than 1"),
        ("confidence: 0.95", "confidence: 0", "evaluate.confidence = 0: should be greater than 0"),
        ("margin: 0.002", "margin: 0", "evaluate.margin = 0: should be greater than 0"),
        ("digit: 0", "digit: -1", "evaluate.digit = -1: should be greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert TEXT.count(old) == 1 or old == "batch_size: 2000"
    told = error_in(tmp_path, TEXT.replace(old, new, 1))
    assert told.startswith("params.yaml: ")
    assert words in told


def test_every_culprit_is_named_in_the_one_line(tmp_path: Path) -> None:
    told = error_in(tmp_path, TEXT.replace("lr: 0.1", "lr: 0").replace("epochs: 5", "epochs: 0"))
    assert "train.lr = 0: " in told
    assert "train.epochs = 0: " in told


def test_a_wrong_item_is_the_only_culprit() -> None:
    assert error(FILE, {"hidden": "0"}) == "model.hidden.0 = 0: should be greater than or equal to 1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "content = None: should be a valid dictionary"),
        ("3", "content = 3: should be a valid dictionary"),
        ("[data, model]", "content = ['data', 'model']: should be a valid dictionary"),
        (TEXT.replace("model:\n", "model: 3\nmore:\n"), "model = 3: should be a valid dictionary"),
        ("data: [", "cannot be read: while parsing a flow node"),
        ("data: *nothing", "cannot be read: *nothing: an alias; write the value out"),
        (TEXT.replace("lr: 0.1", "lr: 0.1\n  lr: 0.2"), 'found duplicate key "lr"'),
        ("data: !!python/object/apply:os.system [exit]", "cannot be read: could not determine a constructor"),
        (TEXT + "---\nmore: 1\n", "expected a single document"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in error_in(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert f"{path}: cannot be read: [Errno 2] No such file" in error(path)
    assert f"{tmp_path}: cannot be read: [Errno 21] Is a directory" in error(tmp_path)
    path.write_bytes(b"data: \xff")
    assert f"{path}: cannot be read: 'utf-8' codec can't decode byte 0xff" in error(path)


def test_overrides_go_by_dotted_name_or_last_part(params: Callable[..., Params]) -> None:
    assert load(FILE, {"train.lr": "0.5", "hidden": "[7]"}) == load(FILE, {"lr": "0.5", "model.hidden": "[7]"})
    changed = params(lr="0.5", hidden="[7]", device="cpu")
    expected = params().flat() | {"train.lr": 0.5, "model.hidden": (7,), "train.device": "cpu"}
    assert changed.flat() == expected


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("train.seeds", "0,1", (0, 1)),
        ("train.seeds", "3", (3,)),
        ("train.seeds", " [4, 5]", (4, 5)),
        ("model.hidden", "5", (5,)),
        ("model.hidden", "5, 6,7", (5, 6, 7)),
        ("train.threads", "2", 2),
        ("data.directory", "some/where", "some/where"),
        ("data.directory", "null", None),
    ],
)
def test_an_override_is_written_as_in_yaml(name: str, text: str, value: object) -> None:
    assert load(FILE, {name: text}).flat()[name] == value


@pytest.mark.parametrize("name", ["nothing", "train", "train.", "", "train.lr.x", "model.lr", "Train.lr"])
def test_an_unknown_override_lists_the_known(name: str) -> None:
    told = error(FILE, {name: "1"})
    assert told.startswith(f"{name} = 1: not a parameter; choose from data.dataset, data.directory, ".lstrip())
    assert all(known in told for known in load(FILE).flat())


def test_an_ambiguous_override_lists_the_candidates(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(TEXT + "other: {lr: 1, more: 2}\n", encoding="utf-8")
    assert error(tmp_path / "p.yaml", {"lr": "1"}) == "lr = 1: ambiguous; choose from train.lr, other.lr"


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (TEXT + "1: {lr: 3}\n", "lr", "lr = 1: ambiguous; choose from train.lr, 1.lr"),
        (TEXT + "1: {lr: 3}\n", "nothing", "nothing = 1: not a parameter; choose from data.dataset, "),
        (TEXT.replace("train:\n", "train:\n  1: 3\n"), "lr", "train.1"),
        (TEXT.replace("train:\n", "train:\n  1: 3\n"), "nothing", "nothing = 1: not a parameter; choose from "),
    ],
)
def test_keys_that_are_no_strings_do_not_break_overrides(tmp_path: Path, text: str, name: str, words: str) -> None:
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    assert words in error(tmp_path / "p.yaml", {name: "1"})


@pytest.mark.parametrize("name", ["lr", "seeds", "hidden", "optimizer", "epochs", "threads", "dataset"])
@pytest.mark.parametrize("value", ["$(touch x)", "; touch x", "`touch x`", "!!python/object/apply:os.system [touch x]"])
def test_commands_are_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = error(FILE, {name: value})
    assert name in told
    assert "touch x" in told
    assert list(tmp_path.iterdir()) == []


def test_a_malformed_override_is_named() -> None:
    assert error(FILE, {"lr": "[1"}).startswith("train.lr = [1: while parsing a flow sequence")
    assert error(FILE, {"seeds": "1]"}).startswith("train.seeds = [1]]: expected")


@pytest.mark.parametrize(
    ("overrides", "words"), [({"lr": "[\n"}, "train.lr = [ : "), ({"a\nb": "1"}, "a b = 1: not a ")]
)
def test_a_newline_in_an_override_is_told_in_one_line(overrides: dict[str, str], words: str) -> None:
    assert error(FILE, overrides).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2001-99-99", "cannot be read: month must be in 1..12"),
        ("!!int abc", "cannot be read: invalid literal for int() with base 10: 'abc'"),
        ("!!float x", "cannot be read: could not convert string to float: 'x'"),
        ("!!bool x", "cannot be read: 'x'"),
        ("9" * 5000, "cannot be read: Exceeds the limit (4300 digits) for integer string conversion"),
        ("0x" + "f" * 5000, "train.lr = a number with thousands of digits: should be a valid number"),
        ("[" * 1000, "cannot be read: maximum recursion depth exceeded"),
    ],
    ids=lambda text: text[:20],
)
def test_yaml_that_ruamel_cannot_construct_is_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in error_in(tmp_path, TEXT.replace("lr: 0.1", f"lr: {text}"))
    assert error(FILE, {"lr": text}).startswith("train.lr = ")


@pytest.mark.parametrize("text", ["/data/batch #2", "2024", "a: b", "[x]", "yes", "{a}", "*x", "~/images"])
def test_a_folder_is_any_text(text: str) -> None:
    assert load(FILE, {"directory": text}).data.directory == text


@pytest.mark.parametrize("text", ["null", ""])
def test_no_folder_is_null(text: str) -> None:
    assert load(FILE, {"directory": text}).data.directory is None


def test_a_dash_is_an_underscore() -> None:
    assert load(FILE, {"batch-size": "60", "train.validation-batch-size": "7"}).train.batch_size == 60


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("lr", "0,1", "(a decimal point is a dot; several values belong into a grid: sweep --grid train.lr=0,1)"),
        ("lr", "0.1, 1", "(a decimal point is a dot; several values belong into a grid: sweep --grid train.lr=0.1, 1)"),
        ("lr", "log(1e-4,1,9)", "(a range belongs into a grid: sweep --grid 'train.lr=log(1e-4,1,9)')"),
    ],
)
def test_what_belongs_into_a_grid_is_said(name: str, text: str, hint: str) -> None:
    assert error(FILE, {name: text}).endswith(f"should be a valid number {hint}")


def test_what_is_wrong_on_the_command_line_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    assert error(FILE, {"lr": "fast"}) == "train.lr = 'fast': should be a valid number"
    (tmp_path / "params.yaml").write_text(TEXT.replace("epochs: 5", "epochs: 0"), encoding="utf-8")
    assert error(tmp_path / "params.yaml", {"lr": "-1"}) == (
        "params.yaml: train.epochs = 0: should be greater than or equal to 1; train.lr = -1: should be greater than 0"
    )
