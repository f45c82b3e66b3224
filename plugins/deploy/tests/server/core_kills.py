"""Kills workers at random points: ``python core_kills.py URL KILLS SEED``; the exit status tells whether anything was lost.

This process only forks, so that a worker is ready at once; it holds no connection, and what it knows comes through a pipe:
a line for whatever a worker was told to be done, written after it was told.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import sys
import threading
import time
import traceback

from core_world import FULL, answer, gray, manifest, opened, plan
from walle_deploy.buckets import bucket
from walle_deploy.policies.compiling import installed_kinds
from walle_deploy.profile import Profile
from walle_deploy.release.offers import offer
from walle_deploy.release.state import decode
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.types import DeviceReport

STEADY = plan(gray(99, {"kind": "time", "seconds": 1e9}, control=0.5), FULL, alpha=1e-12)
BRIEF = plan({"kind": "beta", "devices": [f"c{number}" for number in range(20)]}, FULL)
LEASE, LONGEST = 0.05, 0.4  # seconds of a worker's life, at most, after it has begun
OPTIONS = {"poll": 0.02, "lease": LEASE}


class Log:
    """Lines to the parent; a line is written whole."""

    def __init__(self, pipe):
        self.pipe = pipe

    def __call__(self, *words):
        os.write(self.pipe, (" ".join(map(str, words)) + "\n").encode())


def prepare(log, url):
    with opened(url, None, **OPTIONS) as platform:
        for task in ("steady", "brief"):
            platform.add_task(task, {"everyone": True}, "ada")
            for number in (1, 2):
                add(platform, task, number)
        for task in ("steady", "brief"):
            release = platform.create_release(task, 1, plan({"kind": "full", "control": 0}, watch=0), "ada")
            platform.report("first", [DeviceReport(1, task, "v1", failed=False)])
            assert platform.release(release).status == "finished"
        platform.create_release("steady", 2, STEADY, "ada")


def add(platform, task, number):
    about = {"commit": "", "message": "", "signer": "ada", "who": "ada"}
    platform.add_version(task, number, manifest=manifest(task, number), **about)


def reports(platform, log, run, thread):
    for number in range(10_000):
        device = f"r{run}-{thread}-{number}"
        log("sent", device)
        version = f"v{1 + number % 2}"
        both = [DeviceReport(1, "steady", version, failed=False), DeviceReport(2, "brief", "v1", failed=True)]
        with contextlib.suppress(BusyError):
            platform.report(device, both[: 1 + number % 2])
            log("acknowledged", device, version)


def checks(platform, log, rng):
    while True:
        time.sleep(0.001)  # the others are to have their turn
        device = f"c{rng.randrange(20)}"
        installed = {"steady": "v1", "brief": f"v{rng.randrange(1, 40)}"}
        start = time.monotonic()
        with contextlib.suppress(BusyError):
            wire = platform.check(Profile(device, {"n": rng.randrange(3)}, {}, installed))
            if wire is not None:
                made = answer(wire)
                offered = {task.name: task.version for task in made.tasks}
                log("offer", device, made.counter, offered.get("brief", 0), start)


def operators(platform, log, rng):
    number = max(each.number for each in platform.task("brief").versions)
    going = platform.task("brief").release
    if going is not None:  # of the worker before, which did not get so far
        platform.rollback(going, "ada", "its operator is gone")
    while True:
        number += 1
        add(platform, "brief", number)
        release = platform.create_release("brief", number, BRIEF, "ada")
        log("began", number)
        time.sleep(rng.uniform(0, 0.02))
        if rng.random() < 0.5:
            platform.rollback(release, "ada", "complaints")
        else:
            platform.revoke("brief", number, "ada", "unsafe")
        log("ended", number, time.monotonic())


def work(log, url, run, seed):
    """What a worker does until it is killed."""
    rng = random.Random(seed)
    platform = opened(url, None, **OPTIONS)
    jobs = [(reports, (platform, log, run, thread)) for thread in range(3)]
    jobs += [(checks, (platform, log, random.Random(rng.random()))), (operators, (platform, log, rng))]

    def guarded(job, args):
        try:
            job(*args)
        except Exception:
            log("broken", traceback.format_exc().replace("\n", " | ")[-3000:])

    for job, args in jobs:
        threading.Thread(target=guarded, args=(job, args), daemon=True).start()
    log("ready")
    while True:
        platform.tick()
        time.sleep(0.05)


def forked(job, *args):
    """The process id and the reading end of the pipe of a child that does a job."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    status = 1
    try:
        job(Log(writing), *args)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def lines(pipe, child, life):
    """All that a child says; it is killed `life` seconds after it is ready, if that is given."""
    data, until = b"", None
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        if left == 0.0:
            os.kill(child, signal.SIGKILL)
            until = None
        if not select.select([pipe], [], [], left if until else 30)[0]:
            continue
        some = os.read(pipe, 1 << 16)
        if not some:
            break
        data += some
        if until is None and life is not None and b"ready\n" in data:
            until, life = time.monotonic() + life, None
    os.close(pipe)
    os.waitpid(child, 0)
    return [line.split(" ") for line in data.decode().split("\n")[:-1]]


def look(log, url):
    """What the database says after a worker was killed."""
    import sqlalchemy as sa
    from walle_deploy.server.schema import releases

    with opened(url, None, **OPTIONS) as platform:
        release = next(each for each in platform.releases(task="steady") if each.version == 2)
        log("heard", release.heard)
        with platform.database.read() as found:
            query = sa.select(releases.c.state).where(releases.c.id == release.id)
            state = decode(found.execute(query).scalar_one())
            if not platform.database.postgres:
                assert found.execute(sa.text("PRAGMA quick_check")).scalar_one() == "ok"
        test = state.failures
        log("counted", test.treatment.reports, test.control.reports, state.again, state.repeated)
        described = platform.devices(prefix="c", limit=1000)
        for task in ("steady", "brief"):
            has = [each.installed.get(task) for each in described]
            for version in platform.task(task).versions:
                assert version.devices == has.count(f"v{version.number}"), (task, version)
        assert platform.counts().devices == len(described)


def main(url, kills, seed):
    rng = random.Random(seed)
    installed_kinds()  # children have them then
    child, pipe = forked(prepare, url)
    lines(pipe, child, None)
    sent, acknowledged, ended, counters, offers = set(), {}, {}, {}, 0
    for run in range(kills):
        child, pipe = forked(work, url, run, rng.random())
        for what, *rest in lines(pipe, child, rng.uniform(0, LONGEST)):
            if what == "sent":
                sent.add(rest[0])
            elif what == "acknowledged":
                acknowledged[rest[0]] = rest[1]
            elif what == "ended":
                ended[int(rest[0])] = float(rest[1])
            elif what == "offer":
                device, counter, version, start = rest[0], int(rest[1]), int(rest[2]), float(rest[3])
                assert counter > counters.get(device, 0), f"the counter of {device} fell to {counter}"
                assert start < ended.get(version, float("inf")), f"v{version} was offered after its end"
                counters[device], offers = counter, offers + 1
            elif what == "broken":
                raise AssertionError(" ".join(rest))
        child, pipe = forked(look, url)
        found = {what: list(map(int, rest)) for what, *rest in lines(pipe, child, None)}
        assert set(found) == {"heard", "counted"}, "the database could not be looked at"
        heard, (treated, control, again, repeated) = found["heard"][0], found["counted"]
        assert len(acknowledged) <= heard <= len(sent), (len(acknowledged), heard, len(sent))
        assert treated + control + again + repeated <= heard
    arms = {"treatment": 0, "control": 0}
    for device, version in acknowledged.items():
        arm = arms_of(device)
        if (arm, version) in {("treatment", "v2"), ("control", "v1")}:
            arms[arm] += 1
    assert arms["treatment"] <= treated + again
    assert arms["control"] <= control + again
    print(
        f"{kills} kills, {len(acknowledged)} reports of {len(sent)} acknowledged, {heard} there, {offers} offers, {len(ended)} ends"
    )


_STATE = None


def arms_of(device):
    """The arm of a device in the steady release."""
    global _STATE
    if _STATE is None:
        from walle_deploy.release.events import Created
        from walle_deploy.release.machine import step

        _STATE, _ = step(None, Created(at=0.0, version="v2", previous="v1", plan=STEADY))
    return offer(_STATE, device, bucket("steady", device), running="v2").arm


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
