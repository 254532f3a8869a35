"""Nothing that is read is run: no pickle but the pinned one, no shell, no code in data, no server open to others."""

import ast
import re

import click
import pytest
from mlflow.utils import cli_args
from ruamel.yaml import YAML

from tests.samples import ROOT

FILES = sorted((ROOT / "pipeline").rglob("*.py"))
PAGES = "\n".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

# What runs what it reads, by the name that it has in the code.
PICKLES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve", "pandas"}
CALLS = re.compile(
    r"eval|exec|compile|__import__|importlib\.\w+|runpy\.\w+|pickle\.\w+|"
    r"os\.(system|popen|exec\w*|spawn\w*|posix_spawn\w*)|subprocess\.(getoutput|getstatusoutput)|"
    r"(torch|np|numpy|jit|hub|yaml|package)\.(load|load_state_dict_from_url|unsafe_load|full_load)|"
    r"\w+\.(read_pickle|to_pickle)|torch\.save"
)
OPTIONS = {"shell": True, "allow_pickle": True, "weights_only": False}


def running(source: str) -> list[str]:
    """What in a module's source reads pickles, or runs what it is given as code or by a shell."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in PICKLES]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module] if node.module.split(".")[0] in PICKLES else []
            # By name alone a call would hide where it comes from.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += [name for name in names if CALLS.fullmatch(name)]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found += [name] if CALLS.fullmatch(name) else []
            for option in node.keywords:
                if option.arg in OPTIONS and ast.unparse(option.value) == str(OPTIONS[option.arg]):
                    found.append(f"{name}({option.arg}={OPTIONS[option.arg]})")
            if name == "YAML" and "typ='safe'" not in {ast.unparse(option) for option in node.keywords}:
                found.append("YAML, not safe")
    return found


ALLOWED = {
    "cli.py": ["importlib.import_module"],  # a command of the list in that file: test_cli.py
    "stages/download/arrays.py": ["np.load"],  # with allow_pickle=False, from checked bytes: test_folder.py
    "stages/download/python_index.py": ["pickle"],  # what has the pinned digest, and arrays alone: test_sources.py
    "sweeps/probe.py": ["exec", "compile"],  # the code in a study's folder, which its user names: test_study.py
    "workers.py": ["joblib"],  # the number of cores alone
}


@pytest.mark.parametrize("name", [str(path.relative_to(ROOT / "pipeline")) for path in FILES])
def test_no_pickle_no_shell_and_no_code_from_data(name: str) -> None:
    assert running((ROOT / "pipeline" / name).read_text(encoding="utf-8")) == ALLOWED.get(name, [])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "pickle.loads(content)",
        "from joblib import load",
        "torch.load(path)",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "from torch import load",
        "eval(text)",
        "os.system(text)",
        "from os import system",
        "subprocess.run(text, shell=True)",
        "yaml.load(text)",
        "YAML()",
        "YAML(typ='unsafe')",
        "importlib.import_module(name)",
    ],
)
def test_what_would_be_found(source: str) -> None:
    assert running(source)


def test_no_command_of_dvc_holds_a_parameter() -> None:
    for path in (ROOT / "dvc.yaml", *ROOT.glob("studies/*/dvc.yaml")):
        for stage in YAML(typ="safe").load(path)["stages"].values():
            filled = re.findall(r"\$\{(.*?)\}", stage["cmd"])
            assert set(filled) <= {"item.variant"}, "dvc.yaml itself lists the variants"


SERVER = re.compile(r"mlflow (?:ui|server|models serve)\b[^\n`]*(?:\\\n[^\n`]*)*")


def servers(text: str) -> list[str]:
    return [found.replace("\\\n", " ") for found in SERVER.findall(text)]


def test_servers_listen_on_localhost() -> None:
    (host,) = cli_args.HOST(click.Command("ui")).params
    assert host.default == "127.0.0.1", "what `mlflow ui` does without flags"
    shown = [*servers("\n".join(re.findall(r"```sh\n.*?```", PAGES, re.S))), *servers(MAKEFILE)]
    assert len(shown) >= 3
    for command in shown:
        assert set(re.findall(r"--host[ =](\S+)", command)) <= {"127.0.0.1"}, command


def test_make_audit_asks_about_both_locks_by_their_hashes() -> None:
    (recipe,) = re.findall(r"^audit:.*?(?=^\S)", MAKEFILE, re.M | re.S)
    assert re.search(r"pip-audit==[\d.]+ ", recipe)
    assert {"--require-hashes", "--strict", "requirements.txt", "requirements-dev.txt"} <= set(recipe.split())
    assert "`make audit`" in PAGES
