"""The notebook runs from its first cell to its last, here with tiny networks; what is committed is complete."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.samples import ROOT
from tools import sandbox

LAB = Path("notebooks/lab.ipynb")


def read(path: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook: NotebookNode) -> str:
    """What the cells print to the standard output."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


@pytest.fixture(scope="module")
def committed() -> NotebookNode:
    return read(ROOT / LAB)


@pytest.mark.filterwarnings("default")  # nbclient's and Jupyter's own
def test_every_cell_runs(tmp_path: Path, committed: NotebookNode) -> None:
    project = sandbox.make(tmp_path / "project", git=False)
    notebook = read(project / LAB)
    resources = {"metadata": {"path": str(project / LAB.parent)}}
    NotebookClient(notebook, timeout=600, resources=resources).execute()
    text = printed(notebook)
    assert "300 training and 100 test images" in text
    assert "recorded\n" in text
    assert text.endswith("the same logits: True\n")
    kinds = [[output.output_type for output in cell.outputs] for cell in code_cells(notebook)]
    assert kinds == [[output.output_type for output in cell.outputs] for cell in code_cells(committed)]


def test_what_is_committed_was_run_in_order_and_tells_of_no_machine(committed: NotebookNode) -> None:
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    text = (ROOT / LAB).read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert not any(place in text for place in ("/home/", "/root/", str(ROOT), "/Users/", "/tmp/", "site-packages"))
    assert "60,000 training and 10,000 test images" in printed(committed)


def test_cells_are_short(committed: NotebookNode) -> None:
    assert max(len(cell.source.splitlines()) for cell in code_cells(committed)) <= 15
