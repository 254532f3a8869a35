"""Numbers as text: JSON and CSV that read well and diff well."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any


def as_json(content: Any) -> str:
    """Return JSON that reads well and diffs well; numbers that are not finite, which JSON lacks, become null."""
    return json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n"


def as_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_nan(value) for name, value in content.items()}
    return None if isinstance(content, float) and not math.isfinite(content) else content
