"""Files that appear whole or not at all, and JSON and CSV that read well and diff well."""

import contextlib
import csv
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UserError


def write_atomic(path: Path, content: bytes | str, *, shared: bool = False) -> None:
    """Write a file by way of a temporary one beside it; text is UTF-8. Folders are made.

    Args:
        path: The file.
        content: What to write.
        shared: Whether other processes may write the same file at the same time.

    Raises:
        UserError: the disk is full, the folder read-only or the like.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part" if shared else f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside this one, whose files replace those of this one together when the block ends.

    Where this one is on another disk, by a link or a mount, the folder is within: no file can be renamed across disks.
    """
    own_disk = folder.exists() and folder.stat().st_dev != folder.parent.stat().st_dev
    part = (folder / folder.name if own_disk else folder).with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        yield part
        for path in sorted(path for path in part.rglob("*") if path.is_file()):
            target = folder / path.relative_to(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def to_json(content: Any) -> str:
    """Return JSON that reads well and diffs well; numbers that are not finite, which JSON lacks, become null."""
    return json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n"


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
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
