"""The bytes of one file, unpacked where its first bytes say that gzip packed it, and what they are if not IDX."""

import gzip
import io
import zlib
from pathlib import Path
from typing import IO

from pipeline.errors import UserError

LARGEST = 16 + 1_000_000 * 784  # bytes of a file, uncompressed: a few kilobytes of .gz can hold terabytes
_GZIP = b"\x1f\x8b"
_LAYERS = 2  # of gzip: some servers pack what is packed already
_KINDS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file: run `git lfs pull`",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"\xfd7zXZ": "packed by xz: unpack it first",
    b"BZh": "packed by bzip2: unpack it first",
    b"\x1f\x9d": "packed by compress: unpack it first",
    b"\x93NUMPY": "a NumPy array, not IDX",
    **dict.fromkeys((b"\0\0\t", b"\0\0\v", b"\0\0\f", b"\0\0\r", b"\0\0\x0e"), "IDX of other numbers than bytes"),
    b"\x80": "a pickle, which is never read",
}


def read(path: Path, name: str) -> bytes:
    """Return the content of a file, unpacked if it begins as gzip does, whatever its name.

    Args:
        path: The file.
        name: What an error's text begins with.

    Raises:
        UserError: It cannot be read, is damaged, or holds more than `LARGEST` bytes.
    """
    try:
        with path.open("rb") as file:
            content = read_bounded(file, name)
        for _ in range(_LAYERS):
            if content.startswith(_GZIP):
                with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                    content = read_bounded(packed, name)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{name}: {reason}") from error
    return content


def read_bounded(file: IO[bytes] | gzip.GzipFile, name: str) -> bytes:
    """Return the rest of an open file.

    Raises:
        UserError: It is more than `LARGEST` bytes.
    """
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"{name}: more than {LARGEST} bytes")
    return content


def check_idx(content: bytes, name: str) -> None:
    """Check that bytes begin as IDX does.

    Raises:
        UserError: They do not. Says what they are, as far as the first bytes tell.
    """
    if content.startswith(b"\0\0\x08"):
        return
    if not content:
        raise UserError(f"{name}: empty")
    if content[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise UserError(f"{name}: a web page (HTML) saved under this name: download the file again")
    if content[257:262] == b"ustar":
        raise UserError(f"{name}: a tar archive: unpack it first")
    for start, kind in _KINDS.items():
        if content.startswith(start):
            raise UserError(f"{name}: {kind}")
    raise UserError(f"{name}: neither IDX nor gzip: begins with {content[:8]!r}")
