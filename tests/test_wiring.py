"""The parts agree: dvc.yaml, params.yaml, MLproject, Makefile, README, the locks and the code."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from closure import ROOT, closure, imports, path_of, running
from ruamel.yaml import YAML

from pipeline import grid, idx, layout, outputs, studies
from pipeline.cli import main
from pipeline.params import VARIANTS, Params, load

PARAMS = load(ROOT / "params.yaml")
STAGES = ("download", "train", "evaluate")
MODULES = sorted(path.stem for path in (ROOT / "pipeline").glob("*.py"))
PACKAGES = sorted(path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py"))


def read_yaml(name: str) -> Any:
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


def names(entries: list[Any]) -> set[str]:
    """Paths of deps, outs or metrics, with or without options."""
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


DVC = read_yaml("dvc.yaml")["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_modules_it_imports(stage: str) -> None:
    modules = {str(path.relative_to(ROOT)) for name in closure(f"pipeline.stages.{stage}") if (path := path_of(name))}
    assert {dep for dep in names(DVC[stage]["deps"]) if dep.endswith(".py")} == modules


STUDIES = sorted(path.parent.name for path in (ROOT / "studies").glob("*/dvc.yaml"))


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_wired(study: str) -> None:
    (stage,) = read_yaml(f"studies/{study}/dvc.yaml")["stages"].values()
    assert stage["cmd"] == f"python -m pipeline sweep --study studies/{study}"
    settings = studies.read(ROOT / "studies" / study)
    roots = ["stages.sweep", "studies"]
    roots += [f"probes.{settings.probe['name']}"] if settings.probe else []
    roots += [f"findings.{settings.findings}"] if settings.findings else []
    modules = {
        str(path.relative_to(ROOT)) for root in roots for name in closure(f"pipeline.{root}") if (path := path_of(name))
    }
    assert {dep for dep in names(stage["deps"]) if dep.endswith(".py")} == modules
    assert names(stage["outs"]) == {f"studies/{study}/results"}
    assert grid.points(ROOT / "params.yaml", settings.overrides, *map(grid.read, settings.grids))
    assert f"]({study}/README.md)" in (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "studies" / study / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]+\]\((results/[^)]+)\)", page)
    assert shown
    assert all((ROOT / "studies" / study / name).is_file() for name in shown)
    assert f"dvc repro studies/{study}/dvc.yaml" in page


def test_stages_commands_and_files_share_a_word() -> None:
    assert tuple(DVC) == (*STAGES, "track")
    for stage in DVC:
        assert DVC[stage]["cmd"].split()[:4] == ["python", "-m", "pipeline", stage]
        assert stage in main.commands
    for stage in STAGES:
        assert (ROOT / "pipeline" / "stages" / f"{stage}.py").is_file()


def test_train_declares_every_file_it_leaves() -> None:
    declared = names(DVC["train"]["outs"]) | names(DVC["train"]["metrics"])
    assert declared == {f"{layout.RUNS}/${{item.variant}}/{name}" for name in (*outputs.FILES, "timing.json")}
    assert DVC["train"]["matrix"] == {"variant": list(VARIANTS)}


def test_evaluate_and_track_depend_on_what_they_read() -> None:
    trained = {f"{layout.RUNS}/{variant}/{name}" for variant in VARIANTS for name in outputs.FILES}
    files = {dep for dep in names(DVC["evaluate"]["deps"]) if dep.startswith("runs/")}
    assert files == {name for name in trained if not name.endswith("metrics.json")}
    results = {
        f"{layout.RESULTS}/{name}" for name in ("answer.md", "confusion.csv", "metrics.json", "test_per_seed.csv")
    }
    assert names(DVC["track"]["deps"]) == trained | results | {f"{layout.DATA}/${{data.dataset}}"}


def test_every_parameter_reaches_a_stage() -> None:
    known = set(PARAMS.flat())
    declared = {entry for stage in STAGES for entry in DVC[stage]["params"]}
    for entry in declared:
        assert entry in known or entry in Params.model_fields, entry
    assert {name for name in known if not {name, name.split(".")[0]} & declared} == set()


def test_changing_how_to_evaluate_does_not_retrain() -> None:
    assert not [entry for entry in DVC["train"]["params"] if entry.startswith("evaluate")]


def test_outputs_are_not_in_git_and_results_are() -> None:
    left = ["runs/plain/metrics.json", "data/mnist", "mlflow.db", "results/answer.md"]
    ignored = subprocess.run(
        [
            "git",
            "check-ignore",
            "--no-index",
            "runs/plain/metrics.json",
            "data/mnist",
            "mlflow.db",
            "results/answer.md",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ignored.returncode == 128:
        pytest.skip("not a Git repository")
    assert ignored.stdout.split() == left[:-1]


def test_plots_are_files_that_stages_leave() -> None:
    left = {f"{layout.RUNS}/{variant}/{name}" for variant in VARIANTS for name in outputs.FILES}
    for plot in read_yaml("dvc.yaml")["plots"]:
        if isinstance(plot, dict):
            assert set(next(iter(plot.values()))["y"]) <= left
        else:
            assert plot in names(DVC["evaluate"]["outs"])


def test_mlproject_runs_commands_that_exist() -> None:
    project = read_yaml("MLproject")
    for entry in project["entry_points"].values():
        _, _, module, command, *options = entry["command"].split()
        assert module == "pipeline"
        known = {option for parameter in main.commands[command].params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known
        assert set(entry.get("parameters", {})) <= {"batchnorm", "grid"}
    environment = read_yaml(project["python_env"])
    assert environment == {"dependencies": ["-r requirements.txt"]}


# Who may import whom: a module may import those above it, never those below it.
LAYERS = (
    {"errors", "layout", "text", "view"},
    {"files", "idx", "params", "processes", "contact"},
    {"data", "layers", "wheel", "outputs", "grid", "studies", "context", "database"},
    {"sources", "model", "device", "optimizers", "store"},
    {"scoring", "checkpoints"},
    {"fit"},
    {"activations", "figures", "statistics", "serving", "probes"},
    {"histograms", "tracking", "populations"},
    {"answer", "sweep", "panels"},
    {"findings"},
    {"records", "remote", "stages"},
    {"unsent", "sweep_records"},
    {"flows"},
    {"cli"},
    {"__main__"},
)


def test_arrows_point_one_way() -> None:
    height = {module: level for level, layer in enumerate(LAYERS) for module in layer}
    assert sorted(height) == sorted({*MODULES, *PACKAGES} - {"__init__"})
    for path in (ROOT / "pipeline").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module == "pipeline":
            continue
        own = module.split(".")[1]
        below = {name.split(".")[1] for name in imports(module) if "." in name} - {own}
        assert [name for name in below if height[name] >= height[own]] == [], module
    for stage in (*STAGES, "sweep"):
        others = {name for name in imports(f"pipeline.stages.{stage}") if name.startswith("pipeline.stages.")}
        assert others == set(), "stages know nothing of each other"


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("mlflow", {"store", "tracking"}),
        ("matplotlib", {"figures", "histograms", "panels"}),
        ("torchvision", {"sources"}),
        ("scipy", {"statistics"}),
        ("pickle", {"wheel"}),
        ("subprocess", {"wheel", "context"}),
        ("psutil", {"processes"}),
        ("filelock", {"processes"}),
        ("click", {"cli"}),
        ("ray", {"remote"}),
        ("grpc", {"remote"}),
    ],
)
def test_a_library_has_one_home(library: str, owners: set[str]) -> None:
    assert {path.stem for path in (ROOT / "pipeline").rglob("*.py") if library in third_party(path)} == owners


def test_outputs_do_not_depend_on_how_they_are_tracked() -> None:
    tracking = {f"pipeline.{module}" for module in ("store", "tracking", "records", "cli")}
    for stage in STAGES:
        assert not closure(f"pipeline.stages.{stage}") & tracking


def third_party(path: Path) -> set[str]:
    """Top-level names that a file imports when it runs, the standard library's among them."""
    found: set[str] = set()
    for node in running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_requirements_name_what_is_imported() -> None:
    other_names = {"ruamel.yaml": "ruamel", "grpcio": "grpc"}
    asked = {
        other_names.get(name := re.split(r"[^A-Za-z0-9._-]", line)[0], name.replace("-", "_"))
        for file in ("requirements.in", "requirements-dev.in", "requirements-ray.in")
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
        if line and line[0].isalpha()
    }
    files = [path for folder in ("pipeline", "tests", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")]
    ours = {"pipeline", "benchmarks", "tools", *(path.stem for path in (ROOT / "tests").glob("*.py"))}
    imported = {name for path in files for name in third_party(path)} - ours - sys.stdlib_module_names
    assert imported <= asked


def test_locks_pin_every_package_with_hashes() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-ray.txt"):
        for requirement in (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            assert re.match(r"[a-z0-9._-]+==\S+ ", requirement), requirement
            assert " --hash=sha256:" in requirement, requirement


def test_data_files_are_named_once() -> None:
    assert idx.FILES == (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )


README = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").is_file() else ""


def test_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    used = set(re.findall(r"`?make ([a-z]+)`?", README)) & {*re.findall(r"make ([a-z]+)", "\n".join(code(README)))}
    assert {"repro", "test"} <= used <= targets


def test_readme_names_commands_and_parameters_that_exist() -> None:
    text = "\n".join(code(README))
    commands = set(re.findall(r"python -m pipeline ([a-z]+)", text))
    assert commands <= set(main.commands)
    known = {part for name in PARAMS.flat() for part in (name, name.split(".")[1])} | {"batchnorm", "grid"}
    assert set(re.findall(r"-P ([\w.]+)=", text)) <= known
    assert set(re.findall(r"-S ([\w.]+)=", text)) <= set(PARAMS.flat())


def test_readme_documents_every_parameter() -> None:
    assert [name for name in PARAMS.flat() if f"`{name}`" not in README] == []


def test_readme_shows_figures_that_exist() -> None:
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert len(shown) >= 3
    assert [name for name in shown if not (ROOT / name).is_file()] == []


def test_readme_states_the_results_committed_with_it() -> None:
    # Not those at hand: another processor rounds otherwise, so `make repro` elsewhere may leave other digits.
    command = ["git", "show", "HEAD:results/answer.md"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode:
        pytest.skip("no Git commit with results here")
    answer = shown.stdout
    headline = answer.split("\n\n")[1]
    assert headline in README.replace("\n> ", " ").replace("> ", "")
    for row in re.findall(r"^\| (?:test|validation|training).*\|$", answer, re.M):
        assert row in README


@pytest.mark.parametrize("study", STUDIES)
def test_a_studys_page_states_the_results_committed_with_it(study: str) -> None:
    page = (ROOT / "studies" / study / "README.md").read_text(encoding="utf-8")
    command = ["git", "show", f"HEAD:studies/{study}/results/answer.md"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode:
        pytest.skip("no Git commit with results here")
    rows = re.findall(r"^\|.*\|$", page, re.M)
    assert len(rows) >= 3
    assert [row for row in rows if row not in shown.stdout] == []


def code(text: str) -> list[str]:
    """Code blocks and inline code of Markdown."""
    return re.findall(r"```.*?```|`[^`\n]+`", text, re.S)
