"""The parts agree: dvc.yaml, params.yaml, MLproject, Makefile, README, the locks and the code."""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import click
import grimp
import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from pipeline import paths
from pipeline.analysis.figures import COLOURS, VARIANT_NAMES
from pipeline.cli import COMMANDS, main
from pipeline.params import VARIANTS, Params, load
from pipeline.sweeps.grid import list_points, parse_grid
from pipeline.sweeps.study import load_study
from pipeline.training.history import HISTORY_FILES
from tools.sandbox import ROOT, call

PARAMS = load(ROOT / "params.yaml")
STAGES = ("download", "train", "evaluate")
LOCKS = [f"requirements{part}.txt" for part in ("", "-dev", "-ray", "-bench", "-notebook")]


def read_yaml(name: str) -> Any:
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


def names(entries: list[Any]) -> set[str]:
    """Paths of deps, outs or metrics, with or without options."""
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


DVC = read_yaml("dvc.yaml")["stages"]


GRAPH = grimp.build_graph("pipeline", exclude_type_checking_imports=True)


def room(module: str) -> str:
    """The path that stands in dvc.yaml for a module: its package's, or its own where the package is one of stages."""
    depth = 3 if module.startswith("pipeline.stages.") else 2
    place = "/".join(module.split(".")[:depth])
    return place if (ROOT / place).is_dir() and place != "pipeline/stages" else str(source(module).relative_to(ROOT))


def source(module: str) -> Path:
    """The file of a module, or of a package itself."""
    base = ROOT.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def rooms(modules: set[str]) -> set[str]:
    """The rooms of some modules and of all that these import, directly or not: a room's modules come together."""
    found: set[str] = set()
    rest = set(modules)
    while rest:
        module = rest.pop()
        found.add(module)
        parents = {module.rsplit(".", end)[0] for end in range(1, module.count(".") + 1)}
        beside = {other for other in GRAPH.modules if room(other) == room(module)}
        rest |= (parents | beside | GRAPH.find_modules_directly_imported_by(module)) - found
    return {room(module) for module in found} - {"pipeline"} | {"pipeline/__init__.py"}


def code_of(stage: dict[str, Any]) -> set[str]:
    """What a stage depends on, without its data."""
    return {dep for dep in names(stage["deps"]) if dep.startswith(("pipeline/", "studies/"))}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_rooms_that_it_imports(stage: str) -> None:
    assert code_of(DVC[stage]) == rooms({f"pipeline.stages.{stage}"})


def test_training_depends_on_nothing_but_the_data_the_network_and_the_loop() -> None:
    packages = {dep for dep in code_of(DVC["train"]) if not dep.endswith(".py")}
    assert packages == {"pipeline/data", "pipeline/network", "pipeline/training"}


STUDIES = sorted(path.parent.name for path in (ROOT / "studies").glob("*/dvc.yaml"))


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_wired(study: str) -> None:
    folder = ROOT / "studies" / study
    text = (folder / "dvc.yaml").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 32
    (stage,) = YAML(typ="safe").load(text)["stages"].values()
    assert stage["cmd"] == f"python -m pipeline sweep --study studies/{study}"
    own = {path for name in ("probe.py", "report.py") if (path := folder / name).exists()}
    imported = {name for path in own for name in imports(path) if name in GRAPH.modules}
    assert code_of(stage) == rooms({"pipeline.sweeps", *imported}) | {str(path.relative_to(ROOT)) for path in own}
    assert names(stage["outs"]) == {f"studies/{study}/results"}
    settings = load_study(folder)
    assert list_points(ROOT / "params.yaml", settings.overrides, *map(parse_grid, settings.grids))
    assert f"]({study}/README.md)" in (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    page = (folder / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]+\]\((results/[^)]+)\)", page)
    assert shown
    assert all((folder / name).is_file() for name in shown)
    assert f"dvc repro studies/{study}/dvc.yaml" in page


def test_the_summary_of_the_studies_is_wired() -> None:
    text = (ROOT / "studies" / "dvc.yaml").read_text(encoding="utf-8")
    (stage,) = YAML(typ="safe").load(text)["stages"].values()
    pairs = {f"studies/{study}/results/pairs.csv" for study in STUDIES}
    imported = {name for name in imports(ROOT / "studies" / "summary.py") if name in GRAPH.modules}
    assert code_of(stage) == rooms(imported) | pairs | {"studies/summary.py"}


def test_stages_commands_and_files_share_a_word() -> None:
    assert tuple(DVC) == (*STAGES, "track")
    for stage in DVC:
        assert DVC[stage]["cmd"].split()[:4] == ["python", "-m", "pipeline", stage]
        assert stage in COMMANDS
    for stage in STAGES:
        assert f"pipeline.stages.{stage}" in GRAPH.modules


def test_dvc_yaml_is_read_in_a_minute() -> None:
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 115


def test_stages_leave_folders_and_depend_on_them() -> None:
    assert DVC["train"]["matrix"] == {"variant": list(VARIANTS)}
    assert names(DVC["train"]["outs"]) == {f"{paths.RUNS}/${{item.variant}}"}
    assert names(DVC["evaluate"]["outs"]) == {str(paths.RESULTS)}
    data, runs = f"{paths.DATA}/${{data.dataset}}", {f"{paths.RUNS}/{variant}" for variant in VARIANTS}
    assert names(DVC["train"]["deps"]) - code_of(DVC["train"]) == {data}
    assert names(DVC["evaluate"]["deps"]) - code_of(DVC["evaluate"]) == {data, *runs}
    assert names(DVC["track"]["deps"]) == {data, *runs, str(paths.RESULTS)}


def test_every_parameter_reaches_a_stage() -> None:
    known = set(PARAMS.flat())
    declared = {entry for stage in STAGES for entry in DVC[stage]["params"]}
    for entry in declared:
        assert entry in known or entry in Params.model_fields, entry
    assert {name for name in known if not {name, name.split(".")[0]} & declared} == set()


@pytest.mark.parametrize("folder", [".", *(f"studies/{study}" for study in STUDIES)])
def test_the_number_of_workers_is_in_no_stage(folder: str) -> None:
    for stage in read_yaml(f"{folder}/dvc.yaml")["stages"].values():
        declared = names(stage.get("params", []))
        assert not {"train", "train.workers"} & declared
        training = {name for name in PARAMS.flat() if name.startswith("train.")}
        assert {name for name in declared if name.startswith("train.")} in (set(), training)


def test_changing_how_to_evaluate_does_not_retrain() -> None:
    assert not [entry for entry in DVC["train"]["params"] if entry.startswith("evaluate")]


def test_outputs_are_not_in_git_and_results_are() -> None:
    left = ["runs/plain/metrics.json", "data/mnist", "mlflow.db", "results/lab/answer.md"]
    ignored = call(ROOT, "git", "check-ignore", "--no-index", *left)
    if ignored.returncode == 128:
        pytest.skip("not a Git repository")
    assert ignored.stdout.split() == left[:-1]


def test_plots_metrics_and_models_are_files_that_stages_leave() -> None:
    left = {f"{paths.RUNS}/{variant}/{name}" for variant in VARIANTS for name in HISTORY_FILES}
    pictures = {str(path.relative_to(ROOT)) for path in (ROOT / paths.RESULTS / "figures").glob("*.png")}
    left |= {*pictures, f"{paths.RESULTS}/metrics.json"}
    dvc = read_yaml("dvc.yaml")
    plotted = {
        file for plot in dvc["plots"] for file in (next(iter(plot.values()))["y"] if isinstance(plot, dict) else [plot])
    }
    assert plotted | set(dvc["metrics"]) | {model["path"] for model in dvc["artifacts"].values()} <= left
    assert pictures <= plotted
    assert set(dvc["artifacts"]) == {f"mnist-{variant}" for variant in VARIANTS}


def test_dvcs_plots_have_the_colours_of_the_figures() -> None:
    (template,) = {
        next(iter(plot.values()))["template"] for plot in read_yaml("dvc.yaml")["plots"] if isinstance(plot, dict)
    }
    color = json.loads((ROOT / ".dvc" / "plots" / f"{template}.json").read_text(encoding="utf-8"))["encoding"]["color"]
    names = [VARIANT_NAMES[variant] for variant in VARIANTS]
    assert color["scale"] == {"domain": names, "range": [COLOURS[variant] for variant in VARIANTS]}


@pytest.mark.parametrize(
    "change", ["train.lr=0.01", "train.lr=1e-5", "data.directory=images", "model.activation=relu", "evaluate.digit=3"]
)
def test_dvc_changes_one_line_of_the_parameters(change: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path.write_text(before, encoding="utf-8")
    apply_overrides(path, [change])
    after = path.read_text(encoding="utf-8")
    lines = list(zip(before.splitlines(), after.splitlines(), strict=True))
    assert sum(old != new for old, new in lines) == 1


def command_of(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command
    return command


def test_mlproject_runs_commands_that_exist() -> None:
    project = read_yaml("MLproject")
    for entry in project["entry_points"].values():
        _, _, module, command, *options = entry["command"].split()
        assert module == "pipeline"
        known = {option for parameter in command_of(command).params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known
        assert set(entry.get("parameters", {})) <= {"batchnorm", "grid"}
    environment = read_yaml(project["python_env"])
    assert environment == {"dependencies": ["-r requirements.txt"]}


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        (
            "mlflow",
            {
                "advice",
                "duplicates",
                "model",
                "registry",
                "shared",
                "current",
                "runs",
                "stage",
                "store",
                "values",
                "pyfunc",
            },
        ),
        ("matplotlib", {"animation", "figures", "histograms", "panels"}),
        ("PIL", {"animation"}),
        ("markdown_it", {"page"}),
        ("torchvision", {"sources"}),
        ("scipy", {"statistics"}),
        ("pickle", {"python_index"}),
        ("joblib", {"workers"}),
        ("subprocess", {"python_index", "provenance"}),
        ("psutil", {"process", "processes"}),
        ("filelock", {"process"}),
        ("ray", {"ray_address", "ray_cluster"}),
        ("grpc", {"ray_address"}),
    ],
)
def test_a_library_has_one_home(library: str, owners: set[str]) -> None:
    assert {path.stem for path in (ROOT / "pipeline").rglob("*.py") if library in libraries(path)} == owners


def imports(path: Path) -> set[str]:
    """The modules that a file imports when it runs, so not those for type checking alone."""
    found: set[str] = set()
    for node in running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def running(tree: ast.AST) -> list[ast.AST]:
    """Every node below `tree` that is executed, so none below `if TYPE_CHECKING`."""
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        nodes += [child, *running(child)]
    return nodes


def libraries(path: Path) -> set[str]:
    """Top-level names that a file imports when it runs, the standard library's among them."""
    return {name.split(".")[0] for name in imports(path)}


def test_no_module_of_the_tests_imports_a_test_module_or_conftest() -> None:
    forbidden = re.compile(r"(.*\.)?(test_\w+|conftest)(\..*)?")
    files = sorted((ROOT / "tests").rglob("*.py"))
    found = {(path.name, name) for path in files for name in imports(path) if forbidden.fullmatch(name)}
    assert len(files) > 40
    assert found == set()


def test_requirements_name_what_is_imported() -> None:
    other_names = {"ruamel.yaml": "ruamel", "grpcio": "grpc", "scikit-learn": "sklearn", "pillow": "PIL"}
    other_names |= {"markdown-it-py": "markdown_it", "vl-convert-python": "vl_convert"}
    asked = {
        other_names.get(name := re.split(r"[^A-Za-z0-9._-]", line)[0], name.replace("-", "_"))
        for file in LOCKS
        for line in (ROOT / file).with_suffix(".in").read_text(encoding="utf-8").splitlines()
        if line and line[0].isalpha()
    }
    files = [
        path
        for folder in ("pipeline", "studies", "tests", "benchmarks", "tools")
        for path in (ROOT / folder).rglob("*.py")
    ]
    ours = {"pipeline", "studies", "benchmarks", "tools", "tests"}
    imported = {name for path in files for name in libraries(path)} - ours - sys.stdlib_module_names
    assert imported <= asked


def test_locks_pin_every_package_with_hashes() -> None:
    for name in LOCKS:
        for requirement in (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            assert re.match(r"[a-z0-9._-]+==\S+ ", requirement), requirement
            assert " --hash=sha256:" in requirement, requirement


def test_data_files_are_named_once() -> None:
    files = [
        path for folder in ("pipeline", "studies", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")
    ]
    named = {str(path.relative_to(ROOT)) for path in files if "-ubyte" in path.read_text(encoding="utf-8")}
    assert named == {"pipeline/data/idx.py"}


README = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").is_file() else ""


def test_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    used = set(re.findall(r"`?make ([a-z]+)`?", README)) & {*re.findall(r"make ([a-z]+)", "\n".join(code(README)))}
    assert {"repro", "test"} <= used <= targets


def test_readme_names_commands_and_parameters_that_exist() -> None:
    text = "\n".join(code(README))
    commands = set(re.findall(r"python -m pipeline ([a-z]+)", text))
    assert commands <= set(COMMANDS)
    known = {part for name in PARAMS.flat() for part in (name, name.split(".")[1])} | {"batchnorm", "variant", "grid"}
    assert set(re.findall(r"-P ([\w.]+)=", text)) <= known
    assert set(re.findall(r"-S ([\w.]+)=", text)) <= set(PARAMS.flat())


def test_readme_shows_figures_that_exist() -> None:
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert len(shown) >= 3
    assert [name for name in shown if not (ROOT / name).is_file()] == []


def test_readme_states_the_results_committed_with_it() -> None:
    # Not those at hand: another processor rounds otherwise, so `make repro` elsewhere may leave other digits.
    shown = call(ROOT, "git", "show", "HEAD:results/lab/answer.md")
    if shown.returncode:
        pytest.skip("no Git commit with results here")
    answer = shown.stdout
    headline = answer.split("\n\n")[1]
    assert headline in README.replace("\n> ", " ").replace("> ", "")
    for row in re.findall(r"^\| (?:test|validation|training).*\|$", answer, re.M):
        assert row in README


def code(text: str) -> list[str]:
    """Code blocks and inline code of Markdown."""
    return re.findall(r"```.*?```|`[^`\n]+`", text, re.S)
