"""A stage stops with the program that has started it."""

import subprocess
import sys
from pathlib import Path

from tools.sandbox import ROOT, environment


def test_a_stage_stops_with_the_dvc_that_started_it(tmp_path: Path) -> None:
    worker = """
import signal, sys, time
from pipeline import processes
signal.signal(signal.SIGTERM, lambda *_: (print("stopped", flush=True), sys.exit(143)))
processes.exit_with_parent()
print("at work", flush=True)
time.sleep(60)
"""
    parent = tmp_path / "dvc"
    parent.write_text("import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])", encoding="utf-8")
    command = [sys.executable, str(parent), worker]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(PYTHONPATH=str(ROOT))) as process:
        assert process.stdout
        assert process.stdout.readline() == "at work\n"
        process.kill()
        assert process.stdout.readline() == "stopped\n"
