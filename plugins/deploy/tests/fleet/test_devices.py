"""What devices have, what they believe, how their runs go, and how their reports travel."""

import numpy as np
import pytest
from walle_deploy.fleet.devices import Devices
from walle_deploy.fleet.errors import BrokenRuleError
from walle_deploy.fleet.mail import Mail, Post
from walle_deploy.fleet.outcomes import Failing, Outcomes
from walle_deploy.fleet.population import Population
from walle_deploy.profile import Profile
from walle_deploy.trust import AnswerSigner, AnswerTask, Director, new_key

NOW = 1_700_000_000.0
KEY = new_key()
SIGNER, DIRECTOR = AnswerSigner(KEY), Director((KEY.public,))


def answer(device, version, counter=1, signer=SIGNER, **times):
    times = {"issued": int(NOW), "expires": int(NOW) + 60} | times
    tasks = [AnswerTask("ocr", version, bytes(32), 1, "https://x")]
    return signer.sign(device, tasks, counter=counter, **times)


@pytest.fixture
def devices():
    late = np.zeros(10, bool)
    late[3] = True
    return Devices(Population(10), {"ocr": "v1"}, late, DIRECTOR, verify=1.0)


def test_digest_and_profile_follow_what_is_installed(devices):
    for tasks, number in (({"ocr": "v1"}, 0), ({}, 3)):
        whole = devices.population.profile(number, tasks)
        assert devices.canonical(number) == whole.canonical
        assert devices.digests(np.array([number, number])) == [whole.digest] * 2
        assert devices.digest(number) == devices.digest(number) == whole.digest
        assert devices.header(number).decode() == whole.header()
    devices.install(0, devices.told(0, answer("sim-0000000", 2), NOW))
    assert devices.digest(0) == Profile.read(devices.canonical(0)).digest
    assert Profile.read(devices.canonical(0)).installed == {"ocr": "v2"}
    assert devices.holding("ocr", "v2") == [devices.now(0)]
    assert devices.digest(1) != devices.digest(0)


def test_equal_answers_lead_to_one_set(devices):
    found = {devices.told(number, answer(f"sim-{number:07d}", 2), NOW) for number in range(10)}
    assert len(found) == 1
    assert len(devices.sets) == 3
    assert devices.heard.answers == devices.heard.verified == 10


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (answer("sim-0000001", 2), "is for sim-0000001"),
        (answer("sim-0000000", 2, expires=int(NOW), issued=1), "expired"),
        (answer("sim-0000000", 2, signer=AnswerSigner(new_key())), "does not name as director"),
        (answer("sim-0000000", 2)[:-1] + b"x", "does not fit"),
        (b"", "an answer has"),
    ],
)
def test_what_does_not_hold_is_refused(devices, wire, why):
    with pytest.raises(BrokenRuleError, match=why):
        devices.told(0, wire, NOW)


def test_an_answer_is_not_taken_twice(devices):
    devices.told(0, answer("sim-0000000", 2, counter=7), NOW)
    for counter in (7, 6):
        with pytest.raises(BrokenRuleError, match="after 7"):
            devices.told(0, answer("sim-0000000", 2, counter=counter), NOW)


def test_garbage_is_refused_where_nobody_verifies():
    trusting = Devices(Population(1), {}, np.zeros(1, bool))
    with pytest.raises(BrokenRuleError, match="not an answer"):
        trusting.told(0, b"\xc1" * 200, NOW)


def test_only_a_sample_verifies():
    some = Devices(Population(1000), {}, np.zeros(1000, bool), DIRECTOR, verify=0.1)
    for number in range(1000):
        some.told(number, answer(f"sim-{number:07d}", 1), NOW)
    assert 50 < some.heard.verified < 150


def test_runs_fail_by_version_and_by_what_a_device_is():
    population = Population(50_000)
    where = {"device": {"os": "android", "os_version": "12"}}
    outcomes = Outcomes(population, {"v1": 0.01, "v2": [Failing(0.01), Failing(0.5, where)], "ocr v3": 0.2})
    everyone = np.arange(50_000)
    hit = np.array([population.profile(at, {}).device["os_version"] == "12" for at in range(50_000)])
    v2 = outcomes.failed(everyone, "ocr", "v2")
    assert v2[hit].mean() == pytest.approx(0.5, abs=0.03)
    assert v2[~hit].mean() == pytest.approx(0.01, abs=0.003)
    assert outcomes.failed(everyone, "ocr", "v1").mean() == pytest.approx(0.01, abs=0.003)
    assert outcomes.failed(everyone, "ocr", "v3").mean() == pytest.approx(0.2, abs=0.02)
    assert outcomes.failed(everyone, "other", "v3").mean() == pytest.approx(0.01, abs=0.003)


def test_reports_come_late_twice_and_out_of_order():
    mail = Mail(Post(late=0.2, late_s=100, twice=0.1), step=10.0)
    for at in range(50):
        devices = np.arange(100)
        mail.send(
            at * 10.0, devices, np.full(100, at), np.ones(100, int), np.zeros(100, int), np.zeros(100, int)
        )
    found = []
    for at in range(1000):
        found += [(letter[0], letter[1], at) for letter in mail.arrived(at * 10.0)]
    assert {letter[:2] for letter in found} == {(device, at) for device in range(100) for at in range(50)}
    assert mail.sent == 5000
    assert 5350 < len(found) < 5650
    assert 3800 < sum(at == number for _, number, at in found) < 4300
    order = [number for device, number, _ in found if device == 5]
    assert order != sorted(order)
