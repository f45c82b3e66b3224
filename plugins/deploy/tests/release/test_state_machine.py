"""Random lives of a release beside a model that knows less: what must never happen, whatever comes in which order."""

from collections import Counter
from typing import ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from life_plan import DEVICES, EXAMPLES, FULL, GAP, LASTS, PLAN, RATE, SAMPLE, STEPS, bucket_of, devices
from walle_deploy.release.events import (
    Admit,
    Approve,
    Created,
    Finished,
    Held,
    Offer,
    Pause,
    Report,
    Resume,
    Revoke,
    Rollback,
    RolledBack,
    Simulated,
    StageChanged,
    Tick,
)
from walle_deploy.release.explain import explain, explain_device
from walle_deploy.release.machine import step
from walle_deploy.release.offers import burst
from walle_deploy.release.state import decode, encode


class Life(RuleBasedStateMachine):
    steps = 0
    seen: ClassVar[Counter] = Counter()

    @initialize(goal=st.integers(0, 4))
    def created(self, goal):
        self.now = 1000.0
        self.high, self.elapsed = self.now, 0.0  # the model's own idea of watched time
        self.stage, self.entered = 0, 0.0
        self.offered = {}  # device: the last offer
        self.had = set()  # devices that were given the new version
        self.admissions = []  # (stage, elapsed)
        self.sent = []  # reports, to repeat and to deliver late
        self.waiting = []
        self.counting = ({}, {})  # devices heard of in this stage, by arm
        self.numbers = Counter()
        self.approved = set()
        self.final = None
        self.finished = False
        self.hold = None
        self.state, effects = step(None, Created(at=self.now, version="v2", previous="v1", plan=PLAN))
        self.follow(effects)
        for _ in range(8 * goal):  # most lives begin somewhere on the way
            if self.stage >= goal:
                break
            self.simulated_(True)
            self.approve("ada", "lead")
            self.approve("bob", "lead")
            self.many_devices_run(60)
            self.time_passes(10)
        assert self.stage >= min(goal, 3)

    def send(self, event):
        Life.steps += 1
        Life.seen[type(event).__name__] += 1
        if not isinstance(event, Report):
            ahead = event.at - self.high
            if ahead > 0 or ahead < -GAP:
                self.elapsed += min(max(ahead, 0), GAP)
                self.high = event.at
        self.state, effects = step(self.state, event)
        self.follow(effects)
        return effects

    def follow(self, effects):
        for effect in effects:
            if isinstance(effect, StageChanged):
                self.stage_changed(effect.number)
            elif isinstance(effect, RolledBack):
                assert effect.why
                self.final = self.state.status
                Life.seen[self.final] += 1
            elif isinstance(effect, Finished):
                assert self.stage == 4
                assert self.elapsed - self.entered >= 30
                assert all(self.counting)
                self.finished = True
                Life.seen["finished"] += 1
            elif isinstance(effect, Held):
                assert effect.why
                self.hold = effect.why

    def stage_changed(self, number):
        assert self.final is None
        assert not self.finished
        assert number in {0, self.stage + 1}
        if number == 1:
            assert self.simulated
            assert "lead" in {role for _, role in self.approved}
        if number == 2:
            assert len({who for who, _ in self.approved}) >= 2
        if number >= 2:
            assert all(self.counting), "advanced without data"
        if number == 3:
            assert self.elapsed - self.entered >= LASTS
        if number >= 4:
            assert min(map(len, self.counting)) >= SAMPLE
        Life.seen[f"stage {number}"] += 1
        self.stage, self.entered, self.counting, self.approved = number, self.elapsed, ({}, {}), set()
        self.simulated = False

    @rule(seconds=st.sampled_from([0.5, 1, 5, 10, 15, 60]))
    def time_passes(self, seconds):
        self.now += seconds
        self.send(Tick(at=self.now))

    @rule(seconds=st.sampled_from([-1e6, -100, -10, -1, 1000, 1e7]))
    def clock_jumps(self, seconds):
        stage, samples = self.stage, self.state.counted
        self.now += seconds
        self.send(Tick(at=self.now))
        assert self.stage == stage or min(samples) >= 1 or stage == 0
        assert self.state.elapsed <= self.elapsed

    @rule(passed=st.sampled_from([True, True, True, True, False]))
    def simulated_(self, passed):
        if passed and self.stage == 0:
            self.simulated = True
        stage = self.stage
        self.send(Simulated(at=self.now, passed=passed, why="replayed"))
        assert passed or stage or self.state.final

    @rule(who=st.sampled_from(["ada", "bob"]), role=st.sampled_from(["lead", "", "qa"]))
    def approve(self, who, role):
        if self.final is None:
            self.approved.add((who, role))
        self.send(Approve(at=self.now, who=who, role=role))

    @rule(device=devices)
    def ask(self, device):
        beta = DEVICES.index(device) % 10 == 5
        running = self.offered[device].version if device in self.offered else "v1"
        asked = Admit(at=self.now, device=device, bucket=bucket_of(device), running=running, beta=beta)
        made = next(effect for effect in self.send(asked) if isinstance(effect, Offer))
        assert made.why
        if made.version == "v2":
            assert self.final is None, "offered after the end"
            assert self.stage >= 1, "offered before the simulation was approved"
            share = PLAN["stages"][self.stage].get("percent", 100 if self.stage == 4 else 0) / 100
            named = device in PLAN["stages"][1]["devices"] or beta
            assert named or self.finished or bucket_of(device) < share * 2**32
            if made.admits:
                assert self.state.status != "paused"
                self.admissions.append((self.stage, self.elapsed))
            self.had.add(device)
        else:
            assert made.version == "v1"
            assert device not in self.had or self.final, "a device lost the version"
        if self.final:
            assert made.version == "v1"
        self.offered[device] = made
        explained = explain_device(self.state, device, bucket_of(device), running=running, beta=beta)
        assert explained.offer.why

    @precondition(lambda self: self.offered)
    @rule(data=st.data(), failed=st.sampled_from([False] * 9 + [True]), late=st.booleans())
    def run_(self, data, failed, late):
        device = data.draw(st.sampled_from(sorted(self.offered)))
        offer = self.offered[device]
        if offer.arm == "outside":
            return
        made = self.report_of(device, failed)
        self.waiting.append(made)
        if not late:
            self.deliver(made)

    @rule(count=st.sampled_from([3, 20, 60]))
    def many_devices_run(self, count):
        for device in DEVICES[:: max(1, len(DEVICES) // count)]:
            self.ask(device)
            if self.offered[device].arm != "outside":
                self.deliver(self.report_of(device, failed=False))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def a_late_report_comes(self, data):
        self.deliver(self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1))))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_report_comes_again(self, data):
        again = data.draw(st.sampled_from(self.sent))
        before = self.state
        self.deliver(again)
        assert self.state.failures.treatment == before.failures.treatment
        assert self.state.failures.control == before.failures.control

    @rule(device=devices)
    def a_stranger_reports(self, device):
        before = self.state.failures
        self.send(Report(at=self.now, device=device, number=1, version="v9", arm="treatment", failed=True))
        self.send(Report(at=self.now, device=device, number=1, version="v2", arm="control", failed=True))
        assert self.state.failures == before

    def report_of(self, device, failed):
        self.numbers[device] += 1
        offer, number = self.offered[device], self.numbers[device]
        return Report(
            at=self.now, device=device, number=number, version=offer.version, arm=offer.arm, failed=failed
        )

    def deliver(self, report):
        if self.stage >= 1 and self.final is None and not self.finished and report not in self.sent:
            arm = self.counting[report.arm == "control"]
            if not any(report.device in heard for heard in self.counting):
                arm[report.device] = True
        if self.stage >= 1:
            self.sent.append(report)
        self.send(report)

    @rule(chance=st.integers(0, 3))
    def pause(self, chance):
        if chance == 0:
            self.send(Pause(at=self.now, who="ada"))

    @rule()
    def resume(self):
        self.send(Resume(at=self.now, who="ada"))

    @rule(chance=st.integers(0, 15), revoked=st.booleans())
    def somebody_ends_it(self, chance, revoked):
        if chance:
            return
        if revoked:
            self.send(Revoke(at=self.now, who="ada", why="unsafe"))
        else:
            self.send(Rollback(at=self.now, who="ada", why="complaints"))
        assert self.state.final

    @rule()
    def the_server_is_killed(self):
        before = self.state
        self.state = decode(encode(before))
        assert self.state == before
        assert encode(self.state) == encode(before)

    @invariant()
    def nothing_is_beyond_its_bound(self):
        assert len(encode(self.state)) < 40_000
        assert self.state.elapsed == pytest.approx(self.elapsed)
        assert self.state.failures.treatment.reports + self.state.failures.control.reports <= len(self.sent)

    @invariant()
    def the_counts_are_the_models(self):
        if self.final is None and not self.finished and self.stage:
            mine = tuple(map(len, self.counting))
            assert self.state.counted == mine

    @invariant()
    def every_stand_has_a_reason(self):
        standing = explain(self.state)
        assert standing.line
        msgspec.json.encode(standing)
        if self.final is None and not self.finished and self.state.hold:
            assert self.hold
            assert any(not line.met and line.why for line in standing.gates)

    @invariant()
    def budgets_are_kept(self):
        for stage in (2, 3):
            times = [at for number, at in self.admissions if number == stage]
            for at in times:
                assert sum(at <= other < at + 60 for other in times) <= RATE + burst(RATE)

    @invariant()
    def the_end_is_final(self):
        assert self.state.final == (self.final is not None)
        if self.final == "revoked":
            assert self.state.status == "revoked"


def test_no_life_of_a_release_breaks_a_rule():
    Life.steps = 0
    Life.seen.clear()
    Life.TestCase.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not FULL,
        suppress_health_check=list(HealthCheck),
    )
    Life.TestCase("runTest").runTest()

    assert Life.steps >= (10_000 if FULL else 500)
    assert Life.seen["stage 4"], Life.seen
    assert Life.seen["finished"] + Life.seen["rolled back"] + Life.seen["revoked"], Life.seen
