"""What `make` does before anything is installed: environments of folders that were moved, and Git above the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import ROOT
from tools import sandbox

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
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-ray.txt"):
        (folder / name).touch()
    programs = folder / ".venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", programs.parent], check=True)
    for name, start in (("dvc", f"#!{programs}/python\n"), ("mlflow", long_start(programs))):
        (programs / name).write_text(start + SCRIPT, encoding="utf-8")
        (programs / name).chmod(0o755)
    (programs / ".here").write_text(f"{folder}\n", encoding="utf-8")
    for name in ("uv", ".ready", ".ready-dev"):
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
    assert not any((new / ".venv" / "bin" / name).exists() for name in ("uv", ".ready", ".ready-dev"))


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
