"""The process that makes a run: whether it is dead, exclusive locks, and signals that wait."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.tracking import process
from pipeline.tracking.process import exclusive
from tests.samples import ROOT

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def test_a_process_is_dead_when_it_has_ended(other: subprocess.Popen[bytes]) -> None:
    assert not process.is_dead(process.identity())
    *place, _, _ = process.identity().split()
    started = psutil.Process(other.pid).create_time() - psutil.boot_time()
    name = " ".join([*place, str(other.pid), f"{started:.2f}"])
    assert not process.is_dead(name)
    other.kill()
    time.sleep(0.2)
    assert process.is_dead(name), "a zombie writes nothing any more"
    other.wait()
    assert process.is_dead(name)


def test_a_process_with_the_number_of_one_that_was_there_before_is_another() -> None:
    *place, number, started = process.identity().split()
    assert process.is_dead(" ".join([*place, number, str(float(started) - 60)]))


def test_after_a_restart_of_the_machine_all_are_dead() -> None:
    machine, _, *rest = process.identity().split()
    assert process.is_dead(" ".join([machine, "an-earlier-boot", *rest]))


@pytest.mark.parametrize("part", [0, 2])
def test_nothing_is_known_of_another_machine_or_container(part: int) -> None:
    words = [*process.identity().split()[:3], "999999", "1.00"]
    assert process.is_dead(" ".join(words))
    words[part] = "another"
    assert not process.is_dead(" ".join(words))


def test_a_name_that_cannot_be_read_may_be_alive() -> None:
    assert not process.is_dead("somebody")


def test_a_file_that_another_process_has_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    program = f"import time; file = open({str(path)!r}, 'w'); print(flush=True); time.sleep(60)"
    assert not process.is_open_elsewhere(path, time.time())
    before = time.time()
    time.sleep(0.05)  # the kernel counts in hundredths
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        assert process.is_open_elsewhere(path, time.time())
        assert not process.is_open_elsewhere(path, before), "it was started later"
        child.kill()
    with subprocess.Popen([sys.executable, "-c", program, "server"], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        assert not process.is_open_elsewhere(path, time.time())
        assert process.is_open_elsewhere(path, time.time(), servers=True)
        child.kill()
    with path.open():
        assert not process.is_open_elsewhere(path, time.time()), "one's own hold does not count"


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from pipeline.tracking.process import exclusive
with exclusive(Path({str(tmp_path / "work")!r}), 0, "taken"):
    print(flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(TimeoutError, match="taken"), exclusive(tmp_path / "work", 0.1, "taken"):
            pass
        with exclusive(tmp_path / "other", 0, "taken"):
            pass
        process.kill()
    with exclusive(tmp_path / "work", 0, "taken"):
        assert [path.name for path in tmp_path.iterdir()] == [".work.lock"]
    assert list(tmp_path.iterdir()) == []


def test_signals_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in process.STOP_SIGNALS}
    monkeypatch.setattr(signal, "raise_signal", lambda number: came.append(-number))
    with process.defer_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert came == []
    assert came == [-signal.SIGTERM], "the first is delivered when the block is over"
    os.kill(os.getpid(), signal.SIGTERM)
    assert came == [-signal.SIGTERM, signal.SIGTERM], "the handlers are those of before"
    for number, handler in before.items():
        signal.signal(number, handler)


def test_in_other_threads_no_signals_arrive_that_could_wait() -> None:
    entered: list[bool] = []

    def work() -> None:
        with process.defer_signals():
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [True]
