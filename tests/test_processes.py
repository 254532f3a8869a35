"""Whether a process is gone, who goes first, and signals that wait."""

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

from pipeline import processes
from pipeline.errors import UserError
from tools.sandbox import ROOT, environment

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def test_a_process_is_gone_when_it_has_ended(other: subprocess.Popen[bytes]) -> None:
    assert not processes.gone(processes.own())
    name = processes._named(psutil.Process(other.pid))
    assert not processes.gone(name)
    other.kill()
    time.sleep(0.2)
    assert processes.gone(name), "a zombie writes nothing any more"
    other.wait()
    assert processes.gone(name)


def test_a_process_with_the_number_of_one_that_was_there_before_is_another() -> None:
    *place, number, started = processes.own().split()
    assert processes.gone(" ".join([*place, number, str(float(started) - 60)]))


def test_after_a_restart_of_the_machine_all_are_gone() -> None:
    machine, _, *rest = processes.own().split()
    assert processes.gone(" ".join([machine, "an-earlier-boot", *rest]))


@pytest.mark.parametrize("part", [0, 2])
def test_of_another_machine_or_container_nothing_is_known(part: int) -> None:
    words = [*processes.own().split()[:3], "999999", "1.00"]
    assert processes.gone(" ".join(words))
    words[part] = "another"
    assert not processes.gone(" ".join(words))


def test_a_name_that_cannot_be_read_is_of_one_who_may_live() -> None:
    assert not processes.gone("somebody")


def test_who_holds_a_file_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    program = f"import time; file = open({str(path)!r}, 'w'); print(flush=True); time.sleep(60)"
    assert not processes.held(path, time.time())
    before = time.time()
    time.sleep(0.05)  # the kernel counts in hundredths
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert processes.held(path, time.time())
        assert not processes.held(path, before), "it was started later"
        process.kill()
    with path.open():
        assert not processes.held(path, time.time()), "one's own hold does not count"


def test_one_at_a_time(tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from pipeline import processes
with processes.alone(Path({str(tmp_path / "work")!r}), 0, "taken"):
    print(flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment(PYTHONPATH=str(ROOT))
    ) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(UserError, match="taken"), processes.alone(tmp_path / "work", 0.1, "taken"):
            pass
        with processes.alone(tmp_path / "other", 0, "taken"):
            pass
        process.kill()
    with processes.alone(tmp_path / "work", 0, "taken"):
        assert list(tmp_path.iterdir()) == []


def test_signals_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in processes.STOPS}
    monkeypatch.setattr(signal, "raise_signal", lambda number: came.append(-number))
    with processes.deferred():
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
        with processes.deferred():
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [True]


def test_a_stage_stops_with_the_dvc_that_started_it(tmp_path: Path) -> None:
    worker = """
import signal, sys, time
from pipeline import processes
signal.signal(signal.SIGTERM, lambda *_: (print("stopped", flush=True), sys.exit(143)))
processes.stop_with_master()
print("at work", flush=True)
time.sleep(60)
"""
    master = tmp_path / "dvc"
    master.write_text("import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])", encoding="utf-8")
    command = [sys.executable, str(master), worker]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(PYTHONPATH=str(ROOT))) as process:
        assert process.stdout
        assert process.stdout.readline() == "at work\n"
        process.kill()
        assert process.stdout.readline() == "stopped\n"
