"""The ledger, which stages in two `dvc repro` of one checkout write at the same time."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.tracking import ledger, process
from pipeline.tracking.errors import TrackingError

Meanwhile = Callable[[str, Callable[[], None]], None]

ANOTHER = "another process"


@pytest.fixture(autouse=True)
def _stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "any")


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Meanwhile]:
    """Let another process write, or wait for its turn, when this one calls a method of `Path` on the ledger."""
    others: list[threading.Thread] = []

    def interfere(method: str, write: Callable[[], None]) -> None:
        inner = getattr(Path, method)

        def call(path: Path, *given: object, **more: object) -> object:
            if ledger.LEDGER.name in path.name and not path.name.endswith(".lock"):
                monkeypatch.setattr(Path, method, inner)
                others.append(threading.Thread(target=write, name=ANOTHER))
                others[0].start()
                others[0].join(0.5)
            return inner(path, *given, **more)

        monkeypatch.setattr(Path, method, call)

    yield interfere
    assert others, "nobody was in the way"


def unfinished() -> list[str]:
    """The marks, when all processes have written theirs."""
    for other in threading.enumerate():
        if other.name == ANOTHER:
            other.join(10)
    return list(json.loads(ledger.LEDGER.read_bytes())["unfinished"])


def test_both_of_two_stages_that_begin_at_once_are_marked(meanwhile: Meanwhile) -> None:
    meanwhile("write_text", lambda: ledger.mark("b"))
    ledger.mark("a")
    assert unfinished() == ["a", "b"]


@pytest.mark.parametrize("method", ["replace", "write_text"])
def test_a_stage_that_begins_while_another_ends_keeps_its_mark(meanwhile: Meanwhile, method: str) -> None:
    ledger.write({"download": "d1"})
    ledger.mark("a")
    meanwhile(method, lambda: ledger.mark("b"))
    ledger.unmark("a")
    assert unfinished() == ["b"]


def test_the_last_mark_takes_no_other_with_it(meanwhile: Meanwhile) -> None:
    ledger.mark("a")
    meanwhile("unlink", lambda: ledger.mark("b"))
    ledger.unmark("a")
    assert unfinished() == ["b"]


def test_a_process_that_holds_the_ledger_too_long_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.mark("a")
    before = ledger.LEDGER.read_bytes()
    monkeypatch.setattr(ledger, "_WAIT", 0.1)
    with process.exclusive(ledger.LEDGER, 0, "free"):
        for write in (ledger.mark, ledger.unmark):
            with pytest.raises(TrackingError, match=r"^mlruns/tracked\.json: another process is still writing it$"):
                write("a")
        ledger.unmark("b")  # which has no mark, and waits for nobody
    assert ledger.LEDGER.read_bytes() == before
