"""What is shown of trainings while they last, in a terminal and elsewhere."""

import fcntl
import io
import os
import pty
import struct
import termios
import threading

import pytest

from pipeline import progress
from pipeline.params import load
from pipeline.progress import Progress
from pipeline.training.loop import Epoch
from pipeline.training.population import Population
from tests.samples import PARAMS

PART = Population("plain", load(PARAMS).model, load(PARAMS, {"epochs": "3"}).train, (4, 5))


def epoch(number: int, *seeds: int) -> Epoch:
    return Epoch(seeds, number, tuple(0.25 * seed for seed in seeds), {})


def test_time_and_epochs_are_told_and_the_rest_is_estimated() -> None:
    shown = Progress("train plain", 12)
    assert shown.describe(3) == "train plain: 0 of 12 epochs, 3 s"
    shown(0, epoch(1, 4, 5))
    assert shown.describe(10, bar=6) == (
        "train plain #.....: 2 of 12 epochs, 10 s, about 50 s left; seeds 4, 5: epoch 1, training loss 1.125"
    )
    shown(1, epoch(2, 6))
    shown(0, epoch(3, 4, 5))
    assert shown.completed == 3 * 2 + 2
    for job in range(2):
        shown.finish(job, PART)
    assert shown.describe(5100).startswith("train plain: 12 of 12 epochs, 1 h 25 min; seeds 4, 5: epoch 3")


def test_the_estimate_rests_on_what_was_trained_since_the_start() -> None:
    shown = Progress("sweep", 100, before=90)
    assert shown.describe(2) == "sweep: 90 of 100 epochs, 2 s"
    shown(0, epoch(5, 1))
    assert shown.describe(10).startswith("sweep: 95 of 100 epochs, 10 s, about 10 s left; seed 1: epoch 5")


class Noticed(io.StringIO):
    """A stream that is no terminal; `event` is set when something has been written."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def flush(self) -> None:
        self.event.set()


def test_where_there_is_no_terminal_lines_are_written_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT", 0.01)
    stream = Noticed()
    with Progress("sweep", 2, stream=stream):
        assert stream.event.wait(60)
    assert {line.split(",")[0] for line in stream.getvalue().splitlines()} == {"sweep: 0 of 2 epochs"}


def test_of_a_short_training_no_line_is_written() -> None:
    stream = io.StringIO()
    with Progress("sweep", 2, stream=stream) as shown:
        shown(0, epoch(1, 1))
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("columns", "width"), [(0, 80), (40, 40), (200, 200)])
def test_in_a_terminal_one_line_is_kept_up_to_date(columns: int, width: int) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 0, columns, 0, 0))
    with os.fdopen(slave, "w") as stream, Progress("train batchnorm", 2, stream=stream) as shown:
        shown(0, epoch(2, 1))
    written = os.read(master, 10_000).decode()
    os.close(master)
    *lines, end = written.split("\r")[1:]
    assert end == "\n"
    assert lines[-1].startswith("train batchnorm ##########: 2 of 2 epo")
    assert all(len(line.removesuffix(progress.CLEAR_REST)) < width for line in lines)


class Closed(Noticed):
    """A stream whose reader has gone."""

    def write(self, _: str) -> int:
        self.event.set()
        raise BrokenPipeError


def test_a_stream_that_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT", 0.01)
    stream = Closed()
    with Progress("sweep", 2, stream=stream) as shown:
        assert stream.event.wait(60)
        shown(0, epoch(1, 1))
    assert shown.completed == 1
