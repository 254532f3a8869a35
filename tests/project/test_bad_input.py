"""Whatever is given, a command refuses it in one line that names the culprit, and writes nothing.

There are no images here, so what is right is refused too: for want of images. Hypothesis makes the inputs up, the same
ones every time; `pytest tests/project/test_bad_input.py --hypothesis-profile thorough` makes many more (`make faults`).
"""

import gzip
import io
import re
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.projects._project_spec import load_project
from ruamel.yaml import YAML

from pipeline.cli import main
from pipeline.data import idx
from pipeline.errors import UserError
from pipeline.params import load
from pipeline.stages.download import sources
from tests.samples import ROOT, enter
from tools.sandbox import encode

pytestmark = pytest.mark.filterwarnings("default")  # MLflow and SQLAlchemy warn of each other

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
KEYS = list(load(ROOT / "params.yaml").flat())
# Ten lists, each of nine times the one before: 3 GB when written out.
BOMB = ", ".join([f"&a0 [{'x, ' * 9}]", *(f"&a{at} [{f'*a{at - 1}, ' * 9}]" for at in range(1, 10))])
COMMANDS = {
    "download": ["download"],
    "train": ["train", "plain"],
    "evaluate": ["evaluate", "--scratch"],
    "run": ["run", "--batchnorm", "true"],
    "sweep": ["sweep", "--grid", "epochs=1,2"],
    "track": ["track"],
}
# What a command answers to what is right.
NO_IMAGES = re.compile(r"no source has the images|ubyte: cannot be read|outputs are missing; run `dvc repro`")


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with params.yaml and nothing else, cut off from the network."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        patch.setattr(sources, "_from_mirrors", cut_off)
        patch.setattr("pipeline.stages.download.python_index.read", cut_off)
        patch.setattr(torch, "set_num_threads", lambda _: None)
        patch.setattr(torch, "set_flush_denormal", lambda _: None)
        yield folder


def cut_off(*_: object) -> dict[str, bytes]:
    raise UserError("cut off")


def plain(text: str) -> str:
    """What a message of one line makes of a text."""
    return " ".join(text.split())[:1000]


def refusal(arguments: Sequence[str], text: str = TEXT) -> str:
    """The one line with which a command refuses with this params.yaml; nothing may have been written."""
    Path("params.yaml").write_bytes(text.encode())
    before = sorted(Path().rglob("*"))
    result = CliRunner().invoke(main, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert sorted(Path().rglob("*")) == before
    assert Path("params.yaml").read_bytes() == text.encode()
    told = result.stderr.removesuffix("\n").splitlines()
    # A source that fails is told of before the next one is tried.
    assert all(line.endswith("trying the next source") for line in told[:-1]), told
    assert told[-1].startswith("Error: ")
    assert len(told[-1]) < 2000
    return told[-1].removeprefix("Error: ")


def test_what_is_right_lacks_images_alone() -> None:
    for arguments in COMMANDS.values():
        assert NO_IMAGES.search(refusal(arguments))


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
YAML_LIKE = st.text("[]{},:&*!|>'\"%@`~ -+#\\\t\n01.aex", max_size=12)
TRICKS = st.sampled_from(
    [
        "$(touch x)",
        "; touch x",
        "`touch x`",
        "| touch x",
        "&& touch x",
        "\n touch x",
        "{0.__class__}",
        "%s",
        "../../etc",
        "~nobodyhere",
        "~",
        "-",
        "--",
        "",
        "9" * 5000,
        "x" * 5000,
        "1e999",
        "-0",
        "1_000",
        "0x10",
        "0o7",
        "1:30",
        "2001-99-99",
        "!!python/object/apply:os.system [touch x]",
        "!!binary x",
        "!!set {1, 2}",
        "&a [*a]",
        f"[{BOMB}]",
        '"\\0"',
        '"\\ud800"',
        '"\\e[31m"',
        "[" * 1000,
    ]
)
TEXTS = WORDS | YAML_LIKE | TRICKS | st.integers().map(str) | st.floats().map(str)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | WORDS | st.dates() | st.binary(max_size=4)
)
NAMES = WORDS | st.integers(0, 3) | st.none()
VALUES = st.recursive(SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(NAMES, part, max_size=3))
ARGUMENTS = TEXTS.filter(lambda text: "\0" not in text)  # which no command line can hold


def dumped(content: object) -> str:
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(content, stream)
    return stream.getvalue()


@given(
    value=VALUES,
    at=st.sampled_from([*KEYS, *sorted({key.split(".")[0] for key in KEYS}), "more", ""]),
    command=st.sampled_from(sorted(COMMANDS)),
)
def test_any_value_in_the_file(value: object, at: str, command: str) -> None:
    content: Any = YAML(typ="safe", pure=True).load(TEXT)
    section, _, key = at.partition(".")
    if key:
        content[section][key] = value
    elif section:
        content[section] = value
    else:
        content = value
    line = refusal(COMMANDS[command], dumped(content))
    # What ruamel.yaml has written it cannot always read.
    assert (at or "params.yaml") in line or line.startswith("params.yaml: cannot") or NO_IMAGES.search(line)


@given(text=TEXTS, at=st.sampled_from(KEYS), command=st.sampled_from(sorted(COMMANDS)))
def test_any_text_in_the_file(text: str, at: str, command: str) -> None:
    section, key = at.split(".")
    found = re.search(rf"^{section}:$.*?^  {key}: ([^#\n]*)", TEXT, re.M | re.S)
    assert found
    line = refusal(COMMANDS[command], TEXT[: found.start(1)] + text + TEXT[found.end(1) :])
    assert "params.yaml: " in line or "data.dataset is custom" in line or NO_IMAGES.search(line)


@given(text=TEXTS, name=st.sampled_from(KEYS), command=st.sampled_from(sorted({*COMMANDS} - {"track"})))
@example(text=f"[{BOMB}]", name="train.lr", command="train")
@example(text="~nobodyhere", name="data.directory", command="download")
@example(text='"\\0"', name="data.directory", command="run")
def test_any_value_on_the_command_line(text: str, name: str, command: str) -> None:
    line = refusal([*COMMANDS[command], f"--{name}={text}"])
    assert name in line or NO_IMAGES.search(line)


OPTIONS = (
    "--grid --grids --study --name --dry-run --scratch --batchnorm --variant -h -- - --=x --grid=lr=1 --batchnorm=true"
)
TOKENS = st.sampled_from([*OPTIONS.split(), "plain", "batchnorm", *(f"--{key}" for key in KEYS)]) | ARGUMENTS


@given(command=st.sampled_from(sorted(COMMANDS)) | ARGUMENTS, tokens=st.lists(TOKENS, max_size=5))
@example(command="track", tokens=["a\nb"])
@example(command="--bo\ngus", tokens=[])
@example(command="run", tokens=["--batchnorm", "a\nb"])
@example(command="sweep", tokens=["--grid", "lr=1", "--name", "x" * 300])
def test_any_command_line(command: str, tokens: list[str]) -> None:
    refusal([command, *tokens])


RANGES = st.builds(
    "{}({},{},{}){}".format,
    st.sampled_from(["log", "lin", "geom", ""]),
    *[st.integers(-2, 3) | st.floats() | ARGUMENTS] * 2,
    st.integers(-1, 4) | st.just(10_001) | ARGUMENTS,
    st.just("") | ARGUMENTS,
)
LISTS = st.lists(ARGUMENTS, max_size=4).map(",".join)
GRIDS = st.builds("{}{}{}".format, st.sampled_from(KEYS) | ARGUMENTS, st.sampled_from("=:"), RANGES | LISTS)


@given(grids=st.lists(GRIDS, max_size=3), option=st.sampled_from(["--grid", "--grids"]))
def test_any_grid(grids: list[str], option: str) -> None:
    line = refusal(["sweep", *(part for one in grids for part in (option, one))])
    assert "grid" in line or any(key in line for key in KEYS) or NO_IMAGES.search(line)


VARIED = VALUES | st.dictionaries(st.sampled_from(KEYS), VALUES)
STUDIES = VALUES | st.fixed_dictionaries(
    {"grid": VARIED | st.just({"train.lr": 1})},
    optional={
        "set": VARIED | st.none(),
        "refine": VALUES | st.just(2),
        "confirm": VALUES | st.just("100-129"),
        "best_of_k": VALUES | st.just([1, 3]),
        "probe_every": VALUES,
        "more": SCALARS,
    },
)


@given(content=STUDIES)
def test_any_study(content: object) -> None:
    folder = Path("study")
    folder.mkdir(exist_ok=True)
    (folder / "params.yaml").write_bytes(dumped(content).encode())
    line = refusal(["sweep", "--study", "study"])
    told = ("study/params.yaml: ", "params.yaml: ", "grid", "refine", "confirm", "best_of_k")
    assert line.startswith((*told, *KEYS)) or "not a parameter" in line or NO_IMAGES.search(line)


ENTRIES = load_project(str(ROOT))  # type: ignore[no-untyped-call]


def commanded(entry: str, values: Mapping[str, str]) -> list[str]:
    """The arguments that `mlflow run -e ENTRY -P NAME=VALUE...` gives to `python -m pipeline`, as bash reads them."""
    command = ENTRIES.get_entry_point(entry).compute_command(values, None)
    python = "python -m pipeline "
    assert command.startswith(python)
    shown = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command.removeprefix(python)}"], capture_output=True, check=True
    )
    return shown.stdout.decode().split("\0")[:-1]


@given(
    values=st.dictionaries(st.sampled_from(KEYS) | ARGUMENTS.filter(lambda name: "=" not in name), ARGUMENTS),
    batchnorm=st.sampled_from(["true", "false"]) | ARGUMENTS,
)
@example(values={"x; touch y": "1"}, batchnorm="$(touch x)")
@example(values={"variant": "wide"}, batchnorm="true")
@example(values={"variant": "layernorm"}, batchnorm="false")
def test_any_value_of_mlflow_run(values: dict[str, str], batchnorm: str) -> None:
    values = {name: value for name, value in values.items() if name not in ("batchnorm", "help")}
    arguments = commanded("main", {"batchnorm": batchnorm, **values})
    others = [part for name, value in values.items() for part in (f"--{name}", value)]
    assert arguments == ["run", "--batchnorm", batchnorm, *others]
    line = refusal(arguments)
    assert any(plain(name) in line for name in ("--: neither", "batchnorm", *values)) or NO_IMAGES.search(line)


def test_a_variant_of_mlflow_run_comes_beside_the_default_of_batchnorm() -> None:
    assert commanded("main", {"variant": "rmsnorm"}) == ["run", "--batchnorm", "true", "--variant", "rmsnorm"]


@given(grid=GRIDS, name=ARGUMENTS)
@example(grid="$(touch x)", name="; touch y")
def test_any_grid_of_mlflow_run(grid: str, name: str) -> None:
    arguments = commanded("sweep", {"grid": grid, "name": name})
    assert arguments == ["sweep", "--grids", grid, "--name", name]
    line = refusal(arguments)
    assert line.startswith(("--: neither", "name = ", "grid", "params.yaml: ", *KEYS)) or NO_IMAGES.search(line)


def test_the_variants_of_a_sweep_of_mlflow_run() -> None:
    values = {"grid": "lr=0.1", "variants": "plain,layernorm"}
    assert commanded("sweep", values) == ["sweep", "--grids", "lr=0.1", "--variants", "plain,layernorm"]


RIGHT = encode(2, 1)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """One of the four files, plain or packed, with something wrong."""
    name = draw(st.sampled_from(idx.FILES))
    content = bytearray(RIGHT[name])
    what = draw(st.sampled_from(["truncated", "longer", "header", "noise", "label"]))
    if what == "truncated":
        del content[draw(st.integers(0, len(content) - 1)) :]
    elif what == "longer":
        content += draw(st.binary(min_size=1, max_size=9))
    elif what == "header":
        at = draw(st.integers(0, 3 if "images" in name else 1))
        content[4 * at : 4 * at + 4] = struct.pack(">I", draw(st.integers(3, 2**32 - 1).filter(lambda n: n != 28)))
    elif what == "noise":
        content = bytearray(draw(st.binary(max_size=40)))
    else:
        name, content = idx.FILES[3], bytearray(struct.pack(">2IB", 2049, 1, draw(st.integers(10, 255))))
    if not draw(st.booleans()):
        return name, bytes(content)
    packed = bytearray(gzip.compress(content, mtime=0))
    if draw(st.booleans()):
        packed[draw(st.integers(0, len(packed) - 1))] ^= draw(st.integers(1, 255))
    return f"{name}.gz", bytes(packed)


@given(file=damaged())
def test_any_damage_to_a_file_of_images(file: tuple[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("images")
    for name, content in RIGHT.items():
        if name != file[0].removesuffix(".gz"):
            (folder / name).write_bytes(content)
    (folder / file[0]).write_bytes(file[1])
    line = refusal(["download", "--dataset", "custom", f"--directory={folder}"])
    assert file[0].split("-")[0] in line
