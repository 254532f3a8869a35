"""What a user meets at the command line: help, errors of one line, nothing written."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from pipeline.cli import COMMANDS, main
from tests.samples import ROOT, enter
from tools.sandbox import call


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and nothing else, and the store in it."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    enter(tmp_path, monkeypatch)
    return tmp_path


def refusal(project: Path, *arguments: str) -> str:
    """The one line with which a command refuses; nothing may have been written."""
    before = sorted(project.rglob("*"))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert sorted(project.rglob("*")) == before
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    assert "Traceback" not in result.stderr
    return lines[-1].removeprefix("Error: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--batchnorm", "maybe"], "batchnorm = maybe: should be true or false"),
        (
            ["run", "--variant", "wide"],
            "'--variant': 'wide' is not one of 'plain', 'batchnorm', 'layernorm', 'groupnorm', 'rmsnorm', 'weightnorm'",
        ),
        (
            ["run", "--batchnorm", "false", "--variant", "layernorm"],
            "variant = layernorm: contradicts batchnorm = false; give one of them",
        ),
        (
            ["run", "--variant", "groupnorm", "--hidden", "8,6"],
            "model.groups = 4: groupnorm cannot divide 6 units into equal groups",
        ),
        (["run", "--variant", "weightnorm", "--norm-position", "before_activation"], "weightnorm: has no position, "),
        (["run", "--batchnorm", "true", "--lr", "fast"], "train.lr = 'fast': should be a valid number"),
        (["run", "--batchnorm", "true", "--lr", "-1"], "train.lr = -1: should be greater than 0"),
        (["run", "--batchnorm", "true", "--speed", "9"], "speed = 9: not a parameter; choose from data.dataset, "),
        (["run", "--batchnorm", "true", "--lr"], "--lr: its value is missing"),
        (["run", "--batchnorm", "true", "lr=1"], "'lr=1': expected --NAME VALUE"),
        (["train", "plain", "--seeds", "1,1"], "train.seeds = [1, 1]: every seed may appear only once"),
        (["train", "plain", "--train.lr=$(touch x)"], "train.lr = '$(touch x)': should be a valid number"),
        (["train", "plain"], "train-images-idx3-ubyte: "),
        (["evaluate", "--confidence", "95"], "evaluate.confidence = 95: should be less than 1"),
        (["download", "--dataset", "cifar10"], "data.dataset = 'cifar10': should be 'mnist', 'fashion_mnist'"),
        (["track"], "download: its outputs are missing; run `dvc repro`"),
    ],
)
def test_bad_input_is_one_line(project: Path, arguments: list[str], words: str) -> None:
    assert words in refusal(project, *arguments)


def test_an_unknown_variant_names_the_known_ones(project: Path) -> None:
    assert "'wide' is not one of 'plain', 'batchnorm'" in refusal(project, "train", "wide")


def test_a_mistyped_key_in_the_file(project: Path) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("  lr:", "  learning_rate:"), encoding="utf-8")
    line = refusal(project, "train", "plain")
    assert "train.lr: missing" in line
    assert "train.learning_rate: not a parameter; allowed: batch_size, device, epochs, lr, matmul_precision" in line


def test_too_little_memory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.commands.images.sources.fetch", lambda *_: torch.empty(2**50))
    assert re.fullmatch(
        r"not enough memory \(.* allocate .*\); make model\.hidden, train\.batch_size or .* smaller",
        refusal(project, "download"),
    )


def test_no_params_file(project: Path) -> None:
    (project / "params.yaml").unlink()
    assert refusal(project, "download").startswith("params.yaml: cannot be read: ")


def test_a_folder_that_mlflow_would_misread(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = project.rename(project.with_name("a%20b"))
    monkeypatch.chdir(renamed)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    for command in ("download", "track"):
        assert refusal(renamed, command).startswith(f"{renamed}: MLflow misreads '%20' in the name of a folder; rename")


def test_closed_streams_do_not_matter(project: Path) -> None:
    code = "import os, sys; from pipeline.cli import main; os.close(2); sys.stderr = None; main(['track'])"
    done = call(project, sys.executable, "-c", code, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
    shell = (
        f'cd {ROOT}; python -c \'import sys; from pipeline.cli import main; main(["track", "--help"])\' <&- >&- 2>&-'
    )
    assert call(project, "bash", "-c", shell).returncode == 0


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert command == "track" or f"python -m pipeline {command}" in result.stdout


def test_the_list_of_commands() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert "mlflow run . -P batchnorm=false" in " ".join(result.stdout.split())
    assert all(name in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_says_what_each_command_says_first(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command
    assert command.help
    assert command.help.replace("\n", " ").startswith(COMMANDS[name].removesuffix("."))


def test_the_list_takes_no_library() -> None:
    program = "import sys; from pipeline.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "mlflow", "numpy", "matplotlib", "dvc"} & set(shown.stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], [], ["download"], ["nonsense"]])
def test_windows_is_pointed_to_wsl(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert done.output == "Error: Windows is supported through WSL: run the same commands in a shell of `wsl`\n"


def test_the_command_line_imports_nothing_that_windows_lacks() -> None:
    code = """
import os, sys
import click, psutil  # which know Windows
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "getuid", "geteuid", "getpgid", "killpg", "setsid"):
    delattr(os, name)
import pipeline.cli
sys.platform = "win32"
pipeline.cli.main(["--help"])
"""
    done = call(ROOT, sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: Windows is supported through WSL: run the same commands in a shell of `wsl`\n"
