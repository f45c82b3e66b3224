"""What waits to be written: reports are written at once, descriptions wait for newer ones of the same device."""

import threading
import time
from concurrent.futures import Future

import pytest
from core_world import World, plan
from walle_deploy.server import writer as module
from walle_deploy.server.batch import Reports
from walle_deploy.server.lingering import Lingering
from walle_deploy.server.profiles import Described
from walle_deploy.server.types import DeviceReport
from walle_deploy.server.writer import Writer


def described(device, number=0):
    return Described(device, bytes([number]) * 8, b"%d of %s" % (number, device.encode()))


def report(device):
    return Reports(device, [DeviceReport(1, "digits", "v1", failed=False)])


def names(jobs):
    return [job.device if isinstance(job, Reports) else (job.id, job.digest[0]) for job in jobs]


class Written:
    """What a writer wrote, transaction by transaction."""

    def __init__(self, monkeypatch, linger=60.0):
        monkeypatch.setattr(module, "LINGER_S", linger)
        self.jobs, self.one = [], threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.writer = Writer(self.write)

    def write(self, jobs):
        self.gate.wait(10)
        self.jobs.append(names(jobs))
        self.one.set()
        return [None] * len(jobs)


def test_those_that_came_by_a_time_are_taken_in_the_order_of_their_devices():
    some = Lingering()
    assert some.since is None
    assert [some.add(described(device), at) for at, device in enumerate("cab")] == [True, False, False]
    assert some.since == 0.0
    assert [each.id for each in some.take(10, 1.0)] == ["a", "c"]
    assert (len(some), some.since) == (1, 2.0)
    assert some.take(10, 1.0) == []
    assert [each.id for each in some.take(10, 2.0)] == ["b"]
    assert (len(some), some.since) == (0, None)


def test_a_device_keeps_its_place_and_its_older_descriptions():
    some = Lingering()
    for at, (device, number) in enumerate([("b", 1), ("a", 1), ("b", 2), ("b", 2), ("b", 1), ("a", 2)]):
        some.add(described(device, number), float(at))
    assert len(some) == 5  # the one that was said twice counts once
    assert names(some.take(10, 0.0)) == [("b", 1), ("b", 2), ("b", 1)]
    assert names(some.of("a")) == [("a", 1), ("a", 2)]
    assert some.of("a") == []
    assert len(some) == 0


def test_no_more_are_taken_at_once_than_wanted_but_all_of_one_device():
    some = Lingering()
    for device, number in [("a", 1), ("a", 2), ("b", 1), ("c", 1)]:
        some.add(described(device, number), 0.0)
    assert names(some.take(1, 0.0)) == [("a", 1), ("a", 2)]
    some.add(described("0", 1), 9.0)
    assert names(some.take(1, 0.0)) == [("b", 1)]  # the order of those that had waited
    assert some.since < 0.0  # one of them is left
    assert names(some.of("c")) == [("c", 1)]
    assert names(some.take(9, 0.0)) == []
    assert names(some.take(9, 9.0)) == [("0", 1)]


def test_reports_do_not_wait_for_descriptions_of_other_devices(monkeypatch):
    written = Written(monkeypatch)
    written.writer.put(described("a"))
    job = report("b")
    written.writer.put(job)
    job.done.result(10)
    assert written.jobs == [["b"]]
    assert written.writer.waiting == 1
    assert written.writer.flush(10)
    assert written.jobs == [["b"], [("a", 0)]]
    written.writer.put(described("b"))
    written.writer.close()
    assert written.jobs[2:] == [[("b", 0)]]
    assert not written.writer.put(described("c"))


def test_a_report_is_written_behind_what_its_device_said_before(monkeypatch):
    written = Written(monkeypatch)
    for device, number in (("a", 1), ("b", 1), ("a", 2)):
        written.writer.put(described(device, number))
    job = report("a")
    written.writer.put(job)
    job.done.result(10)
    assert written.jobs == [[("a", 1), ("a", 2), "a"]]
    assert written.writer.waiting == 1
    written.writer.close()


def test_descriptions_are_written_although_reports_come_all_the_time(monkeypatch):
    written = Written(monkeypatch, linger=0.05)
    written.writer.put(described("a"))
    deadline = time.monotonic() + 10
    while not any(("a", 0) in jobs for jobs in written.jobs):
        assert time.monotonic() < deadline
        written.writer.put(report("b"))
    assert len(written.jobs) > 1
    written.writer.close()


def test_too_many_descriptions_do_not_wait_and_more_are_refused(monkeypatch):
    monkeypatch.setattr(module, "DESCRIBED", 4)
    written = Written(monkeypatch)
    written.gate.clear()
    assert [written.writer.put(described(str(number))) for number in range(3)] == [True] * 3
    assert written.jobs == []
    assert written.writer.put(described("3"))
    deadline = time.monotonic() + 10
    while len(written.writer._described):  # taken, and held up by the gate
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert not written.writer.put(described("again"))  # until those are written
    job = report("x")
    assert written.writer.put(job)  # of these, more may wait
    written.gate.set()
    job.done.result(10)
    assert written.writer.flush(10)
    assert sorted(each for jobs in written.jobs for each in jobs if each != "x") == sorted(
        [(str(number), 0) for number in range(4)]
    )
    written.writer.close()


def test_a_description_is_shown_within_half_a_second(tmp_path):
    """Or what shows it is the fault of the machine: what waits is written at the latest after LINGER_S."""
    assert 0 < module.TURN_S < module.LINGER_S <= 0.4
    with World(f"sqlite:///{tmp_path}/walle.db") as world:
        world.task()
        world.stable()
        real, seen = world.platform._writer._write, Future()

        def write(jobs):
            made = real(jobs)
            if any(isinstance(job, Described) and job.id == "d" for job in jobs):
                seen.set_result(time.monotonic())
            return made

        world.platform._writer._write = write
        began = time.monotonic()
        world.check("d", {"digits": "v1"})
        assert seen.result(10) - began >= module.LINGER_S - 2 * module.TURN_S
        assert world.platform.device("d").installed == {"digits": "v1"}


def test_a_report_counts_by_a_description_that_was_not_written_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LINGER_S", 60.0)
    with World(f"sqlite:///{tmp_path}/walle.db") as world:
        world.task()
        world.stable()
        world.platform.set_segment("staff", {"device": {"staff": True}}, "ada")
        stages = plan({"kind": "beta", "policy": "staff", "control": 0.0}, {"kind": "full"})
        release = world.platform.create_release("digits", 2, stages, "ada")
        assert world.check("d", {"digits": "v1"}, staff=True) == {"digits": 2}
        assert world.check("e", {"digits": "v1"}, staff=False) is None
        for device in ("d", "e"):
            world.platform.report(device, [DeviceReport(1, "digits", "v2", failed=False)])
        standing = world.platform.release(release).standing
        assert standing.title == "full"  # the report of d has ended the beta stage
        assert world.platform.release(release).heard == 2


@pytest.mark.parametrize("number", [1, 7, 63, 64, 65, 200, 700])
def test_any_number_of_devices_is_written_and_counted(tmp_path, number):
    with World(f"sqlite:///{tmp_path}/walle.db") as world:
        world.task()
        world.stable()
        for version in ("v1", "v2"):
            for device in range(number):
                world.check(f"d{device:04}", {"digits": version})
            world.written()
            versions = {each.number: each.devices for each in world.platform.task("digits").versions}
            assert versions == {1: number, 2: 0} if version == "v1" else versions == {1: 0, 2: number}
        found = world.platform.devices(prefix="d", limit=1000)
        assert [each.id for each in found] == [f"d{device:04}" for device in range(number)]
        assert {each.installed["digits"] for each in found} == {"v2"}


def test_waiting_for_what_came_before_does_not_wait_for_what_comes_meanwhile(monkeypatch):
    written = Written(monkeypatch)
    writer = written.writer
    writer.put(described("b", 1))
    written.gate.clear()
    waiting = threading.Thread(target=writer.flush, args=(10,))
    waiting.start()
    deadline = time.monotonic() + 10
    while writer._described.since is not None:  # taken, and held up by the gate
        assert time.monotonic() < deadline
        time.sleep(0.001)
    writer.put(described("a", 1))
    written.gate.set()
    waiting.join(10)
    assert not waiting.is_alive()
    assert written.jobs == [[("b", 1)]]
    assert writer.waiting == 1
    writer.close()
    assert written.jobs == [[("b", 1)], [("a", 1)]]


def test_waiting_for_what_came_before_gives_up_in_time(monkeypatch):
    written = Written(monkeypatch)
    written.gate.clear()
    written.writer.put(described("a", 1))
    assert not written.writer.flush(0.01)
    written.gate.set()
    assert written.writer.flush(10)
    written.writer.close()


def test_a_device_is_shown_as_it_told_this_worker(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "LINGER_S", 60.0)
    with World(f"sqlite:///{tmp_path}/walle.db") as world:
        world.check("phone")
        assert world.platform.device("phone").id == "phone"
        assert [one.id for one in world.platform.devices()] == ["phone"]
