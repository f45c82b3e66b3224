"""kill -9 at any moment: every sample is answered once, and the application is told of every answer."""

import collections
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from cloud_world import STREAM, fill, picture, sample, until
from walle_deploy.cloud.store import CloudStore
from walle_deploy.task.packing import unpack

from walle_core import Tensor

FULL = os.environ.get("WALLE_FULL", "") not in ("", "0")
KILLS, SAMPLES = (60, 3000) if FULL else (2, 120)


def test_killed_at_any_moment(tmp_path):
    rng = random.Random(3)
    sink, database, calls = tmp_path / "sink.db", tmp_path / "cloud.db", tmp_path / "calls"
    fill(
        sink,
        *(
            sample(n % 10, n, inputs={"x": Tensor.of(picture(n % 10, seed=n)), "n": n})
            for n in range(SAMPLES)
        ),
    )
    store = CloudStore.open(f"sqlite:///{database}")
    here = Path(__file__).parent
    command = [sys.executable, str(here / "cloud_kill.py"), str(sink), str(database), str(calls)]
    path = os.pathsep.join([str(here), str(here.parent / "hooks")])
    for kill in range(KILLS + 1):
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, cwd=tmp_path
        )
        assert process.stdout.readline() == b"ready\n"
        if kill < KILLS:
            time.sleep(rng.uniform(0, SAMPLES / KILLS * 0.004))
        else:
            until(lambda: store.positions(STREAM) == {"d1": SAMPLES}, 60 if FULL else 20)
            until(lambda: store.told() == store.answers(since=SAMPLES - 1)[-1].number)
        process.kill()
        process.wait()
        process.stdout.close()
    found, since = [], 0
    while some := store.answers(since=since):
        found += some
        since = some[-1].number
    assert sorted(a.seq for a in found) == list(range(1, SAMPLES + 1))
    assert all(a.ok for a in found)
    assert all(unpack(a.answer)["label"] == (a.seq - 1) % 10 for a in found)
    assert sum(int(row.samples) for row in store.counted()) == SAMPLES
    store.close()
    times = collections.Counter(calls.read_text().split())
    assert len(times) == SAMPLES
    assert sum(times.values()) <= SAMPLES + 8 * KILLS  # a batch at a time may be asked again
    told = [int(line) for line in (tmp_path / "calls.told").read_text().split()]
    assert set(told) == {a.number for a in found}
