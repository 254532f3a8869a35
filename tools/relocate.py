"""Make the programs of a virtual environment its own again, after its folder was renamed, moved or copied.

    .venv/bin/python tools/relocate.py .venv/bin

They name its Python by its full path, which is that of the old folder. This needs nothing but Python.
"""

import re
import sys
from pathlib import Path

HERE = ".here"  # holds the path of the folder in which the environment was made; the Makefile compares it
# One line, or three where the path is too long for one or has spaces in it.
_START = re.compile(rb"#!(?:/[^\n]*/python[\d.]*\n|/bin/sh\n'''exec' [^\n]*/python[^\n]*\n' '''\n)")


def relocate(folder: Path) -> None:
    """Rewrite what names the old folder in `folder`, an environment's programs."""
    folder = folder.absolute()
    here = folder / HERE
    old = here.read_bytes().rstrip(b"\n") if here.exists() else None
    start = f"#!/bin/sh\n'''exec' \"{folder}/python\" \"$0\" \"$@\"\n' '''\n".encode()
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        new = _START.sub(lambda _: start, content, count=1) if _START.match(content) else content
        if old and path.name.lower().startswith("activate"):
            new = new.replace(old, str(folder.parents[1]).encode())
        if new != content:
            mode = path.stat().st_mode
            path.unlink()  # in a copy by hard links, the original stays
            path.write_bytes(new)
            path.chmod(mode)


if __name__ == "__main__":
    relocate(Path(sys.argv[1]))
