"""Processes that die are started anew; those that cannot start are not; and all end together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.path.insert(0, {here!r})
from http_work import work
from walle_deploy.server.supervisor import Supervisor
if __name__ == "__main__":
    sys.exit(0 if Supervisor(work, ({folder!r}, {kind!r}), 2, 3).run() else 1)
"""


class Running:
    def __init__(self, folder, kind):
        text = PROGRAM.format(here=str(Path(__file__).parent), folder=str(folder), kind=kind)
        (folder / "program.py").write_text(text)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "program.py")], stderr=subprocess.PIPE, text=True
        )

    def workers(self):
        return {int(path.name) for path in self.folder.glob("[0-9]*")}

    def until(self, condition):
        end = time.monotonic() + 30
        while not (made := condition()):
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.01)
        return made


@pytest.fixture
def start(tmp_path):
    started = []

    def make(kind):
        started.append(Running(tmp_path, kind))
        return started[-1]

    yield make
    for each in started:
        each.process.kill()
        each.process.communicate()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_process_that_is_killed_is_started_anew_and_all_end_together(start):
    running = start("serve")
    first = running.until(lambda: len(running.workers()) == 2 and running.workers())
    os.kill(min(first), signal.SIGKILL)
    everyone = running.until(lambda: len(running.workers()) == 3 and running.workers())
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0
    assert not [pid for pid in everyone if alive(pid)]


def test_a_process_that_cannot_start_ends_all(start):
    running = start("fail")
    assert running.process.wait(30) == 1
    assert len(running.workers()) == 2
    assert not [pid for pid in running.workers() if alive(pid)]


def test_a_process_that_does_not_end_is_killed(start, monkeypatch):
    running = start("stay")
    workers = running.until(lambda: len(running.workers()) == 2 and running.workers())
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(30) == 0
    assert not [pid for pid in workers if alive(pid)]
