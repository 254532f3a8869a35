"""Which modules of the package a module imports, directly or not, read from its source."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent


def path_of(module: str) -> Path | None:
    """The file of a dotted name below `pipeline`, if it is a module or package."""
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imports(module: str) -> set[str]:
    """The modules of the package that `module` imports when it runs: not those for type checking alone."""
    path = path_of(module)
    assert path
    found: set[str] = set()
    for node in running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    packages = {name.rsplit(".", end)[0] for name in found for end in range(name.count("."))}
    return {name for name in found | packages if name.split(".")[0] == "pipeline" and path_of(name)}


def closure(module: str) -> set[str]:
    """`module` and everything that it imports, directly or not."""
    seen: set[str] = set()
    rest = {module, *(module.rsplit(".", end)[0] for end in range(1, module.count(".") + 1))}
    while rest:
        name = rest.pop()
        seen.add(name)
        rest |= imports(name) - seen
    return seen


def running(tree: ast.AST) -> list[ast.AST]:
    """Every node below `tree` that is executed, so none below `if TYPE_CHECKING`."""
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        nodes += [child, *running(child)]
    return nodes
