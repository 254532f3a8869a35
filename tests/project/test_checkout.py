"""What a clone holds and what make sets before it starts: the same bytes everywhere, a user with a name."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from tools.sandbox import ROOT, call, commit, output


def test_a_clone_with_crlf_has_the_same_bytes(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    contents = {
        "a.py": b"one\ntwo\n",
        ".ci/run": b"#!/bin/bash\ntrue\n",
        "Makefile": b"all:\n\ttrue\n",
        "figure.png": b"\x89PNG\r\n\x1a\n\n\r\n",
        "table.csv": b"a,b\n1,2\n",
    }
    for name, content in contents.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_bytes(content)
    shutil.copy(ROOT / ".gitattributes", origin)
    commit(origin)
    output(tmp_path, "git", "clone", "-q", "-c", "core.autocrlf=true", str(origin), "clone")
    assert {name: (tmp_path / "clone" / name).read_bytes() for name in contents} == contents


@pytest.mark.parametrize(("status", "expected"), [(0, "USER=[somebody]"), (1, "USER=[user]")])
def test_a_user_without_a_name_gets_one(status: int, expected: str, tmp_path: Path) -> None:
    program = tmp_path / "id"
    program.write_text(f"#!/bin/sh\necho 12345\nexit {status}\n", encoding="utf-8")  # `id -un` prints the number
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    more = tmp_path / "more.mk"
    more.write_text("shown:\n\t@echo USER=[$$USER]\n", encoding="utf-8")
    user = "somebody" if status == 0 else ""
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = call(ROOT, "make", "-s", "-f", "Makefile", "-f", str(more), "shown", USER=user, PATH=path)
    assert done.stdout.strip() == expected
