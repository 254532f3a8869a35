"""What `make` does before anything is installed: folders that were moved, another Python, other machines, no Git."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import ROOT
from tools import sandbox

LOCKS = [f"requirements{part}.txt" for part in ("", "-notebook", "-dev", "-ray")]  # in the order of installation
MADE = ["uv", ".ready", ".ready-notebook", ".ready-dev"]
SCRIPT = "import sys\nprint(sys.prefix, *sys.argv[1:])\n"


def make(folder: Path, *arguments: str) -> str:
    return sandbox.output(folder, "make", *arguments)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A project that seems to have its environment, with a program as pip writes it."""
    folder = tmp_path / "old"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "tools" / "relocate.py", folder / "tools")
    for lock in LOCKS:
        (folder / lock).touch()
    programs = folder / ".venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", programs.parent], check=True)
    for name, start in (("dvc", f"#!{programs}/python\n"), ("mlflow", long_start(programs))):
        (programs / name).write_text(start + SCRIPT, encoding="utf-8")
        (programs / name).chmod(0o755)
    (programs / ".here").write_text(f"{folder}\n", encoding="utf-8")
    for name in MADE:
        (programs / name).touch()
    return folder


def long_start(programs: Path) -> str:
    return f"#!/bin/sh\n'''exec' \"{programs}/python\" \"$0\" \"$@\"\n' '''\n"


def prefixes(folder: Path) -> set[str]:
    """The environments whose Python the programs start."""
    return {sandbox.output(folder, f"{folder}/.venv/bin/{name}", "a b") for name in ("dvc", "mlflow")}


@pytest.mark.parametrize("name", ["new", "ne w", "ü'#&"])
def test_the_environment_of_a_renamed_folder_is_mended(old: Path, name: str) -> None:
    new = old.rename(old.with_name(name))
    make(new, "help")
    assert prefixes(new) == {f"{new}/.venv a b\n"}
    assert (new / ".venv" / "bin" / ".ready").exists(), "nothing needs installing again"
    activate = (new / ".venv" / "bin" / "activate").read_text(encoding="utf-8")
    assert f"{new}/.venv" in activate
    assert f"{old}/" not in activate
    before = (new / ".venv" / "bin" / "dvc").stat().st_mtime_ns
    make(new, "help")
    assert (new / ".venv" / "bin" / "dvc").stat().st_mtime_ns == before


def test_the_environment_of_a_copy_is_its_own(old: Path) -> None:
    copy = shutil.copytree(old, old.with_name("copy"), symlinks=True, copy_function=os.link)
    make(copy, "help")
    assert prefixes(copy) == {f"{copy}/.venv a b\n"}
    assert prefixes(old) == {f"{old}/.venv a b\n"}


def test_an_environment_without_its_python_is_made_again(old: Path) -> None:
    new = old.rename(old.with_name("new"))
    (new / ".venv" / "bin" / "python").unlink()
    make(new, "help")
    assert not any((new / ".venv" / "bin" / name).exists() for name in MADE)


@pytest.mark.parametrize(("git", "told"), [(".", False), ("..", False), (None, True)])
def test_dvc_is_told_that_there_is_no_git_if_there_is_none(old: Path, git: str | None, told: bool) -> None:
    if git:
        sandbox.output(old / git, "git", "init", "-q")
    (old / ".dvc").mkdir()
    program = old / ".venv" / "bin" / "dvc"
    program.write_text('#!/bin/sh\necho "$@" > .dvc/config.local\n', encoding="utf-8")
    make(old, ".dvc/config.local")
    config = (old / ".dvc" / "config.local").read_text(encoding="utf-8")
    assert config == ("config --local core.no_scm true\n" if told else "")


# Other machines


@pytest.mark.parametrize(
    ("version", "kept"), [("Python 3.99.0", False), (f"Python {platform.python_version()}", True), (None, True)]
)
def test_another_python_makes_the_environment_again(old: Path, version: str | None, kept: bool) -> None:
    if version:
        (old / "mine").write_text(f'#!/bin/sh\ntest "$1" != -V || echo {version}\n', encoding="utf-8")
        (old / "mine").chmod(0o755)
    make(old, "help", "PYTHON=./mine")
    assert [(old / ".venv" / "bin" / name).exists() for name in MADE] == [kept] * len(MADE)


def test_a_python_in_the_environment_variables_does_not(old: Path) -> None:
    sandbox.output(old, "make", "help", PYTHON="python3.99")
    assert (old / ".venv" / "bin" / "uv").exists()


@pytest.mark.parametrize(
    ("torch", "options"),
    [
        ((), "--require-hashes -r requirements.txt"),
        (("TORCH=cpu",), "--torch-backend cpu --no-verify-hashes -c requirements.txt -r requirements.in"),
    ],
)
def test_pytorch_without_cuda_is_installed_by_the_versions_of_the_lock(
    old: Path, torch: tuple[str, ...], options: str
) -> None:
    (old / ".venv" / "bin" / ".ready").unlink()
    planned = make(old, "-n", ".venv/bin/.ready", *torch)
    assert f".venv/bin/uv pip install -q --python .venv/bin/python --compile-bytecode {options}\n" in planned


def test_windows_is_told_to_use_wsl() -> None:
    done = sandbox.call(ROOT, "make", "--no-print-directory", "help", OS="Windows_NT")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Windows is supported through WSL: run the same commands in a shell of `wsl`" in done.stderr


def test_recipes_work_with_the_make_of_macos() -> None:
    """Make 3.81 seeks programs in the caller's PATH alone, and BSD's expand differs from GNU's."""
    recipes = re.findall(r"^\t(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert len(recipes) > 30
    programs = [path.name for path in Path(sys.executable).parent.iterdir()]
    called = {word for recipe in recipes for word in re.findall(r"(?:^@?|; |&& |\|\| )([\w-]+)", recipe)}
    assert called & {*programs, "python", "expand"} == set()


def test_the_workflow_of_ci_is_valid_and_calls_the_two_commands() -> None:
    workflow = ROOT / ".github" / "workflows" / "test.yml"
    sandbox.output(ROOT, "check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow))
    assert re.findall(r"run: make (\w+) ", workflow.read_text(encoding="utf-8")) == ["test", "repro"]


def test_the_development_container_calls_the_command() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert container["postCreateCommand"].startswith("make repro")
    assert container["image"].split(":")[1].startswith("3.")
