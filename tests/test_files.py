"""Files appear whole or not at all; JSON and CSV."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from pipeline import files
from pipeline.errors import UserError
from pipeline.files import to_csv, to_json
from tools.sandbox import ROOT


def fail(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_text_come_back_as_written(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "bytes", b"\x00\r\n\xff")
    files.write_atomic(tmp_path / "text", "naïve\nβ ≠ γ\r\n")
    assert (tmp_path / "bytes").read_bytes() == b"\x00\r\n\xff"
    assert (tmp_path / "text").read_bytes() == "naïve\nβ ≠ γ\r\n".encode()
    assert names(tmp_path) == ["bytes", "text"]


def test_folders_are_made_and_old_content_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    files.write_atomic(path, "a long first text")
    files.write_atomic(path, "short")
    assert path.read_text() == "short"
    assert names(path.parent) == ["c.txt"]


def test_a_part_left_by_a_killed_process_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.part").write_text("half of something longer")
    files.write_atomic(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("patch", [("fsync", os), ("replace", Path)])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: tuple[str, object], old: str | None
) -> None:
    path = tmp_path / "a.txt"
    if old:
        path.write_text(old)
    with monkeypatch.context() as broken:
        broken.setattr(patch[1], patch[0], fail)
        with pytest.raises(UserError) as caught:
            files.write_atomic(path, "new")
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert names(tmp_path) == (["a.txt"] if old else [])
    assert not old or path.read_text() == old


def test_nothing_is_visible_before_the_content_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    seen: list[tuple[str, int]] = []
    fsync: Callable[[int], None] = os.fsync

    def spy(descriptor: int) -> None:
        seen.append((path.read_text(), os.fstat(descriptor).st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    files.write_atomic(path, "newer")
    assert seen == [("old", 5)]
    assert path.read_text() == "newer"


def test_a_folder_in_the_place_of_the_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        files.write_atomic(tmp_path / "folder", "new")
    assert str(caught.value) == f"{tmp_path / 'folder'}: cannot be written: Is a directory"
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["inside"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told_in_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError) as caught:
        files.write_atomic(tmp_path / "a.txt", "new")
    tmp_path.chmod(0o700)
    assert str(caught.value) == f"{tmp_path / 'a.txt'}: cannot be written: Permission denied"
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_opened_for_writing_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "open", refuse)
        with pytest.raises(UserError) as caught:
            files.write_atomic(tmp_path / "a.txt", "new")
    assert str(caught.value) == f"{tmp_path / 'a.txt'}: cannot be written: Permission denied"
    assert names(tmp_path) == []


@pytest.mark.parametrize("below", ["a.txt", "folder/a.txt"])
def test_a_file_in_the_place_of_the_folder_is_told_in_one_line(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(UserError) as caught:
        files.write_atomic(tmp_path / "file" / below, "new")
    assert str(caught.value).startswith(f"{tmp_path / 'file' / below}: cannot be written: ")
    assert len(str(caught.value).splitlines()) == 1
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_an_interruption_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    path = tmp_path / "a.txt"
    path.write_text("old")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second disk")
def test_a_folder_on_another_disk(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as disk:
        (tmp_path / "results").symlink_to(disk)
        for content in ("old", "new"):
            with files.write_folder(tmp_path / "results") as part:
                files.write_atomic(part / "figures" / "a.txt", content)
        assert (Path(disk) / "figures" / "a.txt").read_text() == "new"
        assert names(Path(disk)) == ["figures"]
        assert names(tmp_path) == ["results"]


def test_json_is_indented_and_ends_in_a_newline() -> None:
    content: dict[str, Any] = {"a": {"b": 1.5}}
    assert to_json(content) == '{\n  "a": {\n    "b": 1.5\n  }\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_numbers_that_json_lacks_are_null(value: float) -> None:
    assert json.loads(to_json({"a": {"b": value, "c": 1.5}, "d": value})) == {
        "a": {"b": None, "c": 1.5},
        "d": None,
    }


def test_csv_is_quoted_where_it_must_be() -> None:
    assert to_csv(["a", "b"], [[1, "x,y"], [2.5, 'say "z"']]) == 'a,b\n1,"x,y"\n2.5,"say ""z"""\n'


def test_processes_may_write_the_same_file_at_once(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from pipeline.files import write_atomic\n"
    script += "for _ in range(300): write_atomic(Path(sys.argv[1]), sys.argv[2] * 10_000, shared=True)"
    path = tmp_path / "one.txt"
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), letter], cwd=ROOT, stderr=subprocess.PIPE)
        for letter in "ab"
    ]
    assert [writer.communicate()[1] for writer in writers] == [b"", b""]
    assert path.read_text() in ("a" * 10_000, "b" * 10_000)
    assert list(tmp_path.iterdir()) == [path]
