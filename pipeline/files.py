"""Files that appear whole or not at all."""

import contextlib
import os
from pathlib import Path

from pipeline.errors import UserError


def write(path: Path, content: bytes | str) -> None:
    """Write a file by way of a temporary one beside it; text is UTF-8. Folders are made.

    Raises:
        UserError: the disk is full, the folder read-only or the like.
    """
    temporary = path.with_name(f".{path.name}.part")
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
