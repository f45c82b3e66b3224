"""Random lives of a platform with two workers beside a model that knows less: what must never happen, in any order."""

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy as sa
from core_world import AT_ONCE, Clock, answer, gray, manifest, opened, plan
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from walle_deploy.profile import Profile
from walle_deploy.server.refusals import ConflictError
from walle_deploy.server.schema import meta
from walle_deploy.server.types import DeviceReport

ALL_STEPS = os.environ.get("WALLE_FULL", "") not in {"", "0"}
EXAMPLES, STEPS = (220, 60) if ALL_STEPS else (8, 40)
TASKS = ("t0", "t1")
DEVICES = [f"d{number}" for number in range(48)]
EVERYONE, ANDROID = {"everyone": True}, {"device": {"os": "android"}}
PLAN = plan(
    {"kind": "simulation", "gates": [{"kind": "approval", "roles": ["lead"]}]},
    {"kind": "beta", "devices": DEVICES[:20], "control": 0.4},
    gray(40, {"kind": "time", "seconds": 20}, control=0.4),
    gray(80, {"kind": "budget", "per_minute": 600}, control=0.4),
    {"kind": "full", "control": 0.05},
    watch=30,
    alpha=0.3,  # a few dozen devices are to be enough
)
EPOCH = sa.select(meta.c.epoch)
devices, tasks, workers = st.sampled_from(DEVICES), st.sampled_from(TASKS), st.sampled_from([0, 1])


class Task:
    def __init__(self):
        self.policy, self.versions, self.stable = EVERYONE, [], None
        self.revoked, self.ended, self.finished = set(), set(), set()
        self.release = self.version = None
        self.simulated = self.approved = self.paused = False


class Life(RuleBasedStateMachine):
    steps = 0
    seen: ClassVar[Counter] = Counter()
    url = staticmethod(lambda folder: f"sqlite:///{folder}/x.db")

    @initialize(goal=st.integers(0, 2))
    def created(self, goal):
        self.folder = tempfile.TemporaryDirectory()
        self.address, self.clock = type(self).url(Path(self.folder.name)), Clock()
        self.workers = [opened(self.address, self.clock) for _ in range(2)]
        for each in self.workers:
            each._lease = 0.0
        self.tasks = {}
        self.installed = {device: {} for device in DEVICES}
        self.described, self.wanted, self.counters = {}, {}, Counter()
        self.heard, self.numbers, self.sent = Counter(), Counter(), []
        for name in TASKS[:goal]:  # most lives begin somewhere on the way
            self.a_task(name)
            self.a_version(name)
            self.all_at_once(name)
            self.a_version(name)
            self.a_release(name)
            if goal == 2:
                self.simulated(name, True)
                self.approve(name, "lead")

    def teardown(self):
        for each in getattr(self, "workers", ()):
            each.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def did(self, what):
        Life.steps += 1
        Life.seen[what] += 1

    def everywhere(self):
        """As after a lease: what was ended is known to all."""
        for each in self.workers:
            each.refresh()

    @property
    def platform(self):
        return self.workers[0]

    # operators

    @rule(name=tasks)
    def a_task(self, name):
        if name in self.tasks:
            with pytest.raises(ConflictError):
                self.platform.add_task(name, EVERYONE, "ada")
            return
        self.did("task")
        self.platform.add_task(name, EVERYONE, "ada")
        self.tasks[name] = Task()

    @precondition(lambda self: self.tasks)
    @rule(name=tasks, policy=st.sampled_from([EVERYONE, ANDROID]))
    def a_policy(self, name, policy):
        if name in self.tasks:
            self.did("policy")
            self.platform.set_policy(name, policy, "ada")
            self.tasks[name].policy = policy
            self.everywhere()

    @rule(name=tasks)
    def a_version(self, name):
        if name in self.tasks and len(self.tasks[name].versions) < 12:
            self.did("version")
            mine = self.tasks[name].versions
            mine.append(len(mine) + 1)
            content = manifest(name, mine[-1])
            about = {"commit": "c", "message": "m", "signer": "ada", "who": "ada"}
            self.platform.add_version(name, mine[-1], manifest=content, **about)

    def begin(self, name, kind):
        task = self.tasks.get(name)
        if task is None or not task.versions:
            return False
        number = task.versions[-1]
        no = task.release is not None or number in task.revoked | task.ended or number == task.stable
        try:
            task.release = self.platform.create_release(name, number, kind, "ada")
        except ConflictError:
            assert no
            return False
        assert not no
        task.version, task.simulated, task.approved, task.paused = number, False, False, False
        self.did("release")
        return True

    @rule(name=tasks)
    def a_release(self, name):
        self.begin(name, PLAN)

    @rule(name=tasks)
    def all_at_once(self, name):
        """A version becomes stable with its first report."""
        if not self.begin(name, AT_ONCE):
            return
        task = self.tasks[name]
        task.simulated = task.approved = True
        report = DeviceReport(1, name, f"v{task.version}", failed=False)
        self.heard[task.release] += 1
        self.platform.report("elsewhere", [report])
        self.after_reports()
        assert task.release is None
        assert task.stable == task.version
        self.everywhere()

    @rule(name=tasks, passed=st.sampled_from([True, True, True, False]))
    def simulated(self, name, passed):
        task = self.tasks.get(name)
        if task and task.release and not task.simulated:
            self.did("simulated")
            self.platform.simulated(task.release, passed, "replayed")
            task.simulated = passed
            self.ended(task, passed)

    @rule(name=tasks, role=st.sampled_from(["lead", "qa"]))
    def approve(self, name, role):
        task = self.tasks.get(name)
        if task and task.release:
            self.did("approve")
            try:
                self.platform.approve(task.release, "bob", role)
            except ConflictError as error:
                assert "approved already" in str(error)
            task.approved |= role == "lead"

    @rule(name=tasks, chance=st.integers(0, 3))
    def pause_or_resume(self, name, chance):
        task = self.tasks.get(name)
        if task and task.release:
            self.did("pause")
            task.paused = not chance
            (self.platform.pause if task.paused else self.platform.resume)(task.release, "ada")
            self.everywhere()

    @rule(name=tasks, chance=st.integers(0, 5))
    def rollback(self, name, chance):
        task = self.tasks.get(name)
        if task and task.release and not chance:
            self.did("rollback")
            self.platform.rollback(task.release, "ada", "complaints")
            self.ended(task, False)
            self.everywhere()

    @rule(name=tasks, chance=st.integers(0, 5), data=st.data())
    def revoke(self, name, chance, data):
        task = self.tasks.get(name)
        if task and task.versions and not chance:
            self.did("revoke")
            number = data.draw(st.sampled_from(task.versions))
            self.platform.revoke(name, number, "ada", "unsafe")
            task.revoked.add(number)
            if number == task.version and task.release:
                self.ended(task, False)
            if number == task.stable:
                good = [v for v in task.finished if v not in task.revoked]
                task.stable = self.platform.task(name).stable
                assert task.stable in good if good else task.stable is None
            self.everywhere()

    def ended(self, task, went_on):
        if not went_on:
            task.ended.add(task.version)
            task.release = None

    # time

    @rule(seconds=st.sampled_from([0.5, 5, 10, 30]))
    def time_passes(self, seconds):
        self.did("time")
        self.clock.now += seconds
        self.platform.tick()
        self.after_reports()

    @rule(seconds=st.sampled_from([-1e6, -100, -1, 1000, 1e6]), worker=workers)
    def the_clock_jumps(self, seconds, worker):
        self.did("jump")
        self.clock.now += seconds
        self.workers[worker].tick()
        self.after_reports()

    @rule(worker=workers)
    def a_worker_starts_again(self, worker):
        self.did("restart")
        self.workers[worker].close()
        self.workers[worker] = opened(self.address, self.clock)
        self.workers[worker]._lease = 0.0

    @rule()
    def the_other_worker_looks(self):
        self.workers[1].refresh()

    # devices

    def profile(self, device):
        attributes = {"os": "android" if DEVICES.index(device) % 2 else "ios"}
        return Profile(device, attributes, {}, dict(self.installed[device]))

    @rule(device=devices, worker=workers, installs=st.booleans())
    def ask(self, device, worker, installs):
        self.did("check")
        platform, profile = self.workers[worker], self.profile(device)
        expected = profile.digest in platform._watch.snapshot.expected
        if platform.check_digest(profile.digest):
            if expected:  # its digest told what it has
                self.described[device] = profile.installed
            if worker == 0:
                self.may_run(device, self.installed[device], platform)
            return
        wire = platform.check(profile)
        self.described[device] = profile.installed
        if wire is None:
            return
        made = answer(wire)
        assert made.device == device
        assert made.counter > self.counters[device]
        self.counters[device] = made.counter
        now = {task.name: f"v{task.version}" for task in made.tasks}
        self.may_run(device, now, platform)
        self.may_go_back(device, now, platform)
        self.wanted[device] = now
        if installs:
            self.installed[device] = now

    def may_run(self, device, now, platform):
        for name, version in now.items():
            task, number = self.tasks[name], int(version[1:])
            Life.seen["offer"] += 1
            assert number not in task.revoked, "revoked"
            assert number not in task.ended, "rolled back"
            if number == task.version and task.release:
                assert task.simulated, "not simulated"
                assert task.approved, "not approved"
                Life.seen["offer of what is released"] += 1
                if task.paused:
                    assert self.installed[device].get(name) == version, "paused"
            else:
                assert number in task.finished, "never finished"
            if platform is self.platform and task.policy is ANDROID:
                assert DEVICES.index(device) % 2, "not meant"

    def may_go_back(self, device, now, platform):
        """Another worker may have told it to install what this one had not seen."""
        had = self.installed[device].items()
        if any(name not in now or int(now[name][1:]) < int(version[1:]) for name, version in had):
            Life.seen["goes back"] += 1
            with platform.database.read() as found:
                assert platform._watch.snapshot.epoch == found.execute(EPOCH).scalar_one(), "not looked at"

    @rule(device=devices)
    def a_device_loses_all(self, device):
        self.installed[device] = {}

    @rule(device=devices)
    def a_device_installs_what_it_was_told(self, device):
        if device in self.wanted:
            self.installed[device] = self.wanted[device]

    def send(self, worker, device, reports):
        for each in reports:
            task = self.tasks.get(each.task)
            if task is not None and task.release is not None:
                self.heard[task.release] += 1
        self.workers[worker].report(device, reports)
        self.after_reports()

    def after_reports(self):
        """What the platform decides by itself; that it may is `release`'s business."""
        for name, task in self.tasks.items():
            if task.release is None:
                continue
            found = self.platform.release(task.release)
            if found.status in {"rolled back", "finished"}:
                Life.seen[found.status] += 1
                if found.status == "finished":
                    assert task.simulated and task.approved
                    task.finished.add(task.version)
                    task.stable, task.release = task.version, None
                    assert self.platform.task(name).stable == task.stable
                else:
                    self.ended(task, False)
                self.everywhere()

    @rule(
        count=st.sampled_from([1, 5, 48]), worker=workers, broken=st.sampled_from([False, False, False, True])
    )
    def devices_run(self, count, worker, broken):
        self.did("run")
        for device in DEVICES[:count]:
            self.numbers[device] += 1
            mine = [
                DeviceReport(
                    self.numbers[device],
                    name,
                    version,
                    failed=broken and bool(task.release) and version == f"v{task.version}",
                    why="it crashed",
                )
                for name, version in self.installed[device].items()
                if (task := self.tasks[name])
            ]
            self.sent.append((device, mine))
            self.send(worker, device, mine)

    def most_devices_update(self, worker):
        for device in DEVICES:
            self.ask(device, worker, True)

    @rule(worker=workers)
    def most_devices_update_and_run(self, worker):
        self.most_devices_update(worker)
        self.devices_run(48, 1 - worker, False)

    @rule(worker=workers, name=tasks)
    def a_broken_version_runs(self, worker, name):
        if name in self.tasks and self.tasks[name].release:
            self.most_devices_update(worker)
            self.devices_run(48, worker, True)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), worker=workers)
    def a_report_comes_again(self, data, worker):
        self.did("repeat")
        device, reports = data.draw(st.sampled_from(self.sent[-40:]))
        self.send(worker, device, reports)

    @rule(device=devices, name=tasks, version=st.sampled_from(["v1", "v2", "v9", "", None, "'--"]))
    def a_lie(self, device, name, version):
        self.numbers[device] += 1
        self.send(0, device, [DeviceReport(self.numbers[device], name, version, failed=True)])

    # what must hold

    @rule(device=devices, name=tasks)
    def explanations_agree(self, device, name):
        if name not in self.tasks:
            return
        self.everywhere()
        for each in self.workers:
            each._writer.flush()
        found = self.platform.explain(device, name)
        assert found.why
        if device in self.described and found.wanted is not None:
            number = int(found.wanted[1:])
            assert number not in self.tasks[name].revoked | self.tasks[name].ended

    @rule()
    def everything_is_counted(self):
        for each in self.workers:
            each._writer.flush()
        for name, task in self.tasks.items():
            found = {each.number: each.devices for each in self.platform.task(name).versions}
            counted = Counter(int(mine[name][1:]) for mine in self.described.values() if name in mine)
            assert found == {number: counted[number] for number in task.versions}
        assert self.platform.counts().devices == len(self.described)

    @invariant()
    def no_report_is_lost(self):
        if self.steps % 5 == 0:
            for release, heard in self.heard.items():
                found = self.platform.release(release)
                assert found.heard == heard
                test = found.standing.tests[0]
                counted = test.treatment[0] + test.control[0]
                assert counted + found.standing.repeated + found.standing.again <= heard


def live(machine, examples):
    Life.steps = 0
    Life.seen.clear()
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not ALL_STEPS,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase("runTest").runTest()
    if examples >= 10:
        assert Life.seen["offer of what is released"], Life.seen
        assert Life.seen["restart"], Life.seen


def test_no_life_of_a_platform_breaks_a_rule():
    live(Life, EXAMPLES)
    assert Life.steps >= (10_000 if ALL_STEPS else 200)
    if ALL_STEPS:
        print(Life.steps, dict(Life.seen))
        assert Life.seen["finished"]
        assert Life.seen["rolled back"]
        assert Life.seen["goes back"]


def test_nor_on_postgresql(postgres):
    class OnPostgres(Life):
        url = staticmethod(lambda folder: postgres.database())

    live(OnPostgres, 60 if ALL_STEPS else 3)
