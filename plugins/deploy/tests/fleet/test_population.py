"""Who the devices are, and when they ask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.fleet.habits import HOUR, Calendar, Habits
from walle_deploy.fleet.kinds import KINDS, kinds
from walle_deploy.fleet.population import Population, packed
from walle_deploy.profile import Profile

TASKS = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True),
    st.integers(1, 10**9).map("v{}".format),
    max_size=24,
)


@settings(max_examples=300, deadline=None)
@given(
    number=st.integers(0, 9_999),
    installed=TASKS,
    seed=st.integers(0, 3),
    prefix=st.text(st.characters(codec="ascii", min_codepoint=33), max_size=100),
)
def test_joined_parts_are_the_canonical_profile(number, installed, seed, prefix):
    population = Population(10_000, seed, prefix)
    made, whole = population.canonical(number, packed(installed)), population.profile(number, installed)
    assert made == whole.canonical
    assert Profile.read(made) == whole


def test_a_part_has_the_devices_of_the_whole():
    whole = Population(1000, 5)
    part = whole.part(200, 700).part(100, 200)
    assert [part.canonical(at, packed({})) for at in range(100)] == [
        whole.canonical(at, packed({})) for at in range(300, 400)
    ]
    assert len(part) == 100
    assert part.zones.tolist() == whole.zones[300:400].tolist()


def test_ids_differ_beyond_ten_millions():
    population = Population(2).part(0, 2)
    population.first = 12_345_678
    assert [population.id(0), population.id(1)] == ["sim-12345678", "sim-12345679"]


def test_a_million_devices_take_little_memory():
    population = Population(1_000_000)
    assert population.device.nbytes + population.user.nbytes <= 4_000_000


def test_profiles_stay_small():
    """A full profile of 20 tasks has at most 300 bytes more than what describes device and user."""
    population = Population(KINDS)
    tasks = {f"task-{number}": f"v{number}" for number in range(20)}
    sizes = [len(population.canonical(number, packed(tasks))) for number in range(KINDS)]
    assert max(sizes) <= 550
    assert len(packed(tasks)) <= 300


def test_shares_are_those_of_the_world():
    known = kinds()
    android = [device for device in known.devices if device["os"] == "android"]
    assert 0.68 < len(android) / KINDS < 0.74
    assert 0.31 < sum(user["country"] == "cn" for user in known.users) / KINDS < 0.37
    assert 0.10 < sum(device["os_version"] == "12" for device in android) / len(android) < 0.18
    assert len({device["model"] for device in android}) > 200
    assert all(
        set(device) >= {"os", "os_version", "app_version", "memory_mb", "model", "backends"}
        for device in known.devices
    )


def test_kinds_are_the_same_in_every_run():
    kinds.cache_clear()
    first = kinds()
    kinds.cache_clear()
    assert kinds() == first


def test_a_fleet_of_nobody_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Population(0)


def asked(habits, hours, size=4000, step=60.0):
    """How often each device asks in each hour."""
    calendar = Calendar(Population(size), habits)
    found = np.zeros((hours, size), int)
    for start in np.arange(0, hours * HOUR, step):
        some = calendar.ready(start + step)
        assert np.all(np.diff(calendar.due[some]) >= 0)
        calendar.asked(some, start + step)
        np.add.at(found, (int(start // HOUR), some), 1)
    return found, calendar


def test_devices_ask_by_time_of_day():
    calm = Habits(spell=0, away=0, late=0, leaving=0, start=0)
    found, _ = asked(calm, 24)
    population = Population(4000)
    here = np.array([user["country"] == "gb" for user in kinds().users])[population.user]
    by_hour = found[:, here].mean(axis=1)
    assert by_hour[2:5].max() < 0.35 * by_hour[19:22].min()
    assert 0.8 < found.mean() < 1.1
    assert (found.sum(axis=0) > 0).all()


def test_devices_are_offline_come_late_and_leave():
    found, calendar = asked(Habits(leaving=0.01, late=0.1, late_hours=6, away=0.2), 12)
    before = found[:3].sum(axis=0) == 0
    assert before[calendar.late].mean() > 0.4
    assert calendar.gone == pytest.approx(found.sum() * 0.01, rel=0.3)
    assert (found[:, np.isinf(calendar.due)].sum(axis=0) > 0).all()
    longest = max(np.diff(np.flatnonzero(row)).max(initial=0) for row in found.T)
    assert longest >= 4  # hours without a check


def test_eager_devices_ask_evenly():
    found, calendar = asked(Habits.eager(600.0), 5, size=500)
    assert not calendar.late.any()
    assert calendar.gone == 0
    assert found.sum(axis=0).min() >= 4 * 5
    assert found.mean() == pytest.approx(6, rel=0.1)
