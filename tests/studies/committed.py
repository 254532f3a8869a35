"""The studies, and the files that are committed: those at hand may be of another processor."""

import csv
import io

import pytest

from tools.sandbox import ROOT, call

STUDIES = sorted(path.parent.name for path in (ROOT / "studies").glob("*/params.yaml"))


def committed(file: str) -> str:
    """The content of a file, or of a folder its list, at HEAD; without a commit the test is skipped."""
    shown = call(ROOT, "git", "show", f"HEAD:{file}")
    if shown.returncode:
        pytest.skip("no Git commit with results here")
    return shown.stdout


def committed_rows(file: str) -> list[dict[str, str]]:
    """The rows of a table at HEAD."""
    return list(csv.DictReader(io.StringIO(committed(file))))
