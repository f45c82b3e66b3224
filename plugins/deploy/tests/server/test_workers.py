"""Several workers on one database: what one ends, no other offers; what several count is counted once."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from core_world import FULL, World, opened, plan
from walle_deploy.errors import DeployError
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.types import DeviceReport

WORKER = Path(__file__).with_name("core_worker.py")
SURE = {"kind": "beta", "devices": [f"w{number}" for number in range(200)]}
LEASE = 0.25  # of the process beside this one, too
WAIT = {"kind": "time", "seconds": 1000}


class Worker:
    def __init__(self, mode, url, *args):
        command = [sys.executable, str(WORKER), mode, url, *args]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self):
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        return self.line()


@contextlib.contextmanager
def worker(*args):
    made = Worker(*args)
    try:
        yield made
    finally:
        made.process.stdin.close()
        made.process.kill()
        made.process.wait()
        made.process.stdout.close()


def test_what_is_ended_is_offered_by_no_worker(url):
    with World(url, lease=LEASE, poll=0.05) as world, worker("offer", url) as other:
        platform, ended = world.platform, {}
        platform._lease = LEASE
        world.task(versions=range(1, 7))
        world.stable()

        def offered(number):
            release = platform.create_release("digits", number, plan(SURE, FULL), "ada")
            assert other.line() == {"offered": number}
            return release

        platform.rollback(offered(2), "ada")
        ended["2"] = time.monotonic()
        release = offered(3)
        platform.pause(release, "ada")
        ended["3"] = time.monotonic()
        time.sleep(0.1)
        platform.rollback(release, "ada")
        offered(4)
        platform.revoke("digits", 4, "ada", "unsafe")
        ended["4"] = time.monotonic()
        release = offered(5)
        other.process.send_signal(signal.SIGSTOP)  # it hangs, or its machine is too busy
        platform.rollback(release, "ada")
        ended["5"] = time.monotonic()
        other.process.send_signal(signal.SIGCONT)
        offered(6)
        platform.retire("digits", "ada")
        ended["6"] = time.monotonic()
        time.sleep(0.1)
        last = other.end()["last"]
        assert last.keys() == ended.keys()
        assert all(last[each] < ended[each] for each in ended)


def test_two_processes_count_together(url):
    with World(url) as world:
        world.task()
        world.stable()
        names = [f"{name}{number}" for name in "ab" for number in range(300)]
        beta = {"kind": "beta", "devices": names, "gates": [WAIT]}
        release = world.platform.create_release("digits", 2, plan(beta, FULL), "ada")
        with worker("write", url, "a") as one, worker("write", url, "b") as two:
            for each in (one, two):
                assert each.line() == {"ready": True}
            for each in (one, two):
                assert each.line() == {"done": True}
        found = world.platform.release(release)
        assert found.heard == 600
        standing = found.standing
        assert standing.reports[0] + standing.again + standing.repeated == 600
        described = [each for each in world.platform.devices(prefix="d") if each.device]
        assert len(described) == 50
        installed = [each.installed["digits"] for each in described]
        covered = {f"v{each.number}": each.devices for each in world.platform.task("digits").versions}
        assert covered == {"v1": installed.count("v1"), "v2": installed.count("v2")}
        assert world.platform.counts().devices == 50 + 1


def test_threads_of_one_worker(world):
    world.task()
    world.stable()
    release = world.platform.create_release("digits", 2, plan(SURE | {"gates": [WAIT]}, FULL), "ada")
    failed = []

    def use(name):
        try:
            for number in range(12):
                world.check(f"{name}{number}", {"digits": "v1"})
                world.platform.report(f"w{number}", [DeviceReport(1, "digits", "v2", failed=False)])
                world.platform.explain(f"{name}{number}", "digits")
                world.platform.tick()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    found = world.platform.release(release)
    assert (found.heard, found.standing.reports[0]) == (96, 12)


def test_a_worker_that_cannot_see_the_database_offers_nothing(sqlite_world, monkeypatch):
    world = sqlite_world
    world.task()
    world.stable()
    platform = world.platform
    assert world.check("one") == {"digits": 1}
    assert not platform.check_digest(world.profile("one").digest)
    platform._watch.snapshot.valid_until = 0.0
    with pytest.raises(BusyError, match="try again") as error:
        world.check("one")
    assert (error.value.status, error.value.wait > 0) == (503, True)
    assert platform.check_digest(world.profile("one").digest)  # nothing new, as far as anybody knows
    assert "last known" in platform.health()
    platform.refresh()
    assert platform.health() == ""
    assert world.check("one") == {"digits": 1}


def test_an_answer_that_took_too_long_is_not_given(sqlite_world, monkeypatch):
    world = sqlite_world
    world.task()
    world.stable()
    watch, counters = world.platform._watch, world.platform._checks._counters
    real = counters.next

    def late():
        watch.snapshot.valid_until = 0.0
        return real()

    monkeypatch.setattr(counters, "next", late)
    with pytest.raises(BusyError, match="try again"):
        world.check("one")


def test_the_thread_goes_on_after_trouble(tmp_path):
    with World(f"sqlite:///{tmp_path}/x.db", poll=0.01, lease=0.2) as world:
        world.task()
        real, failing = world.platform._watch._loader.load, threading.Event()

        def load(known):
            if failing.is_set():
                raise DeployError("the disk is gone; look for it")
            return real(known)

        world.platform._watch._loader.load = load
        failing.set()
        until = time.monotonic() + 10
        while "the disk is gone" not in world.platform.health():
            assert time.monotonic() < until
            time.sleep(0.01)
        failing.clear()
        while world.platform.health():
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_policy_that_this_worker_cannot_compile_makes_it_useless_not_wrong(sqlite_world):
    import sqlalchemy as sa
    from walle_deploy.errors import PolicyError
    from walle_deploy.server.auditing import offers_changed
    from walle_deploy.server.schema import tasks

    world = sqlite_world
    world.task()
    world.stable()

    def strange(found):  # as a worker with another plugin would
        found.execute(sa.update(tasks).values(policy='{"strange":1}'))
        offers_changed(found, {"digits"})

    world.platform.database.write(strange)
    with pytest.raises(PolicyError, match="strange"):
        world.platform.refresh()
    assert world.check("one", {"digits": "v1"}) is None  # as before, until the lease ends
    world.platform.add_task("other", {"everyone": True}, "ada")  # which is done, whatever this worker knows
    assert [each.name for each in world.platform.tasks()] == ["digits", "other"]


def test_a_write_that_cannot_be_done_harms_no_other(world, monkeypatch):
    world.task()
    world.stable()
    release = world.platform.create_release("digits", 2, plan(SURE, FULL), "ada")
    writer, real = world.platform._writer, world.platform._writer._write

    def picky(jobs):
        if any(getattr(job, "device", "") == "w13" for job in jobs):
            raise ValueError("this one cannot be written")
        return real(jobs)

    monkeypatch.setattr(writer, "_write", picky)
    good = DeviceReport(1, "digits", "v2", failed=False)
    done = [world.platform.begin_report(f"w{number}", [good]) for number in range(20)]
    results = [each.exception(30) for each in done]
    assert [number for number, error in enumerate(results) if error] == [13]
    assert "see the log" in str(results[13])
    assert world.platform.release(release).heard == 19
    world.platform.report("w0", [good])
    assert world.platform.health() == ""


def test_a_database_that_refuses_loses_nothing_that_was_acknowledged(sqlite_world, monkeypatch):
    world = sqlite_world
    world.task()
    world.stable()
    writer, real = world.platform._writer, world.platform._writer._write
    monkeypatch.setattr(writer, "_write", lambda jobs: (_ for _ in ()).throw(BusyError("the disk is full")))
    with pytest.raises(BusyError, match="the disk is full"):
        world.platform.report("one", [DeviceReport(1, "digits", "v1", failed=False)])
    assert "the disk is full" in world.platform.health()
    assert world.check("two", {"digits": "v1"}) is None
    writer.flush()
    assert not world.platform.check_digest(
        world.profile("two", {"digits": "v1"}).digest
    )  # it is to tell again
    monkeypatch.setattr(writer, "_write", real)
    world.check("two", {"digits": "v1"})
    world.written()
    assert world.platform.device("two").installed == {"digits": "v1"}
    assert world.platform.health() == ""


def test_a_disk_that_is_full(tmp_path):
    import sqlalchemy as sa

    pages = [1 << 30]
    with World(f"sqlite:///{tmp_path}/x.db") as world:
        world.task()
        world.stable()
        release = world.platform.create_release("digits", 2, plan(SURE | {"gates": [WAIT]}, FULL), "ada")
        engine = world.platform.database.writing

        @sa.event.listens_for(engine, "begin")
        def limited(connection):
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages[0]}")

        def report(number):
            why = "it crashed, and this is a long story" * 10
            world.platform.report(f"w{number}", [DeviceReport(1, "digits", "v2", failed=True, why=why)])

        report(0)
        with engine.connect() as found:
            pages[0] = found.exec_driver_sql("PRAGMA page_count").scalar_one() + 2
        done = 1
        with pytest.raises(BusyError, match="full"):
            for number in range(1, 200):
                report(number)
                done += 1
        assert "full" in world.platform.health()
        pages[0] = 1 << 30
        report(199)
        assert world.platform.release(release).heard == done + 1
        assert world.platform.health() == ""


def test_too_much_that_waits_is_refused(sqlite_world, monkeypatch):
    from walle_deploy.server import writer as module

    world = sqlite_world
    world.task()
    world.stable()
    monkeypatch.setattr(module, "WAITING", 10)
    monkeypatch.setattr(module, "DESCRIBED", 10)
    writer, real, go = world.platform._writer, world.platform._writer._write, threading.Event()
    monkeypatch.setattr(writer, "_write", lambda jobs: (go.wait(30), real(jobs))[1])
    report = DeviceReport(1, "digits", "v1", failed=False)
    waiting = [world.platform.begin_report(f"d{number}", [report]) for number in range(10)]
    with pytest.raises(BusyError, match="too many reports"):
        world.platform.begin_report("one", [report])
    assert world.check("two", {"digits": "v1"}) is None
    assert not world.platform.check_digest(world.profile("two", {"digits": "v1"}).digest)
    go.set()
    for each in waiting:
        each.result(30)
    world.platform.begin_report("one", [report]).result(30)


def test_a_caller_that_gave_up_is_no_trouble(sqlite_world):
    world = sqlite_world
    world.task()
    world.stable()
    for number in range(50):
        done = world.platform.begin_report(f"d{number}", [DeviceReport(1, "digits", "v1", failed=False)])
        assert isinstance(done, Future)
        done.cancel()
    world.report("last", 1)
    assert world.platform.health() == ""


def test_closing_writes_what_waits(url):
    with World(url) as world:
        world.task()
        world.stable()
        done = world.platform.begin_report("d", [DeviceReport(1, "digits", "v1", failed=False)])
        world.check("two", {"digits": "v1"})
    assert done.result(0) is None
    with pytest.raises(BusyError, match="too many"):
        world.platform.begin_report("d", [])
    with opened(url) as again:
        assert again.device("two").installed == {"digits": "v1"}


def test_an_idle_platform_ends_its_threads(tmp_path):
    before = threading.active_count()
    for _ in range(3):
        with World(f"sqlite:///{tmp_path}/x.db", poll=0.01):
            pass
    assert threading.active_count() == before
    left = [name for fd in Path("/proc/self/fd").iterdir() if "x.db" in (name := _target(fd))]
    assert left == []


def _target(descriptor):
    with contextlib.suppress(OSError):
        return str(descriptor.readlink())
    return ""
