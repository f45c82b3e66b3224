"""Counters of answers never fall: not over restarts, other workers, clock steps, or a machine that starts again."""

import threading

import pytest
from core_world import Clock, answer, opened
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.server import steady
from walle_deploy.server.counters import AHEAD, DatabaseCounters, MachineCounters
from walle_deploy.server.database import Database


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(["give", "give", "restart", "reboot", "back", "ahead", "other", "pass", "long"]),
        max_size=30,
    )
)
def test_whatever_happens_to_a_machine(tmp_path_factory, steps):
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('counters')}/x.db")
    clock, passed, boot = Clock(), [1000], [1]

    def begun():
        return MachineCounters(database, clock, lambda: passed[0], f"boot {boot[0]}")

    workers, last, at = [begun(), begun()], 0, 0
    for step in steps:
        passed[0] += 1
        if step == "give":
            made = workers[at].next()
            assert made > last
            last = made
        elif step == "restart":
            workers[at] = begun()
        elif step == "reboot":
            boot[0] += 1
            passed[0] = 5
            workers = [begun(), begun()]
        elif step == "back":
            clock.now -= 1e6
        elif step == "ahead":
            clock.now += 1e6
        elif step == "other":
            at = 1 - at
        elif step == "pass":
            passed[0] += AHEAD // 3
            workers[at].keep()
        elif step == "long":
            passed[0] += 3 * AHEAD
    database.close()


def test_they_are_near_the_time(url):
    with opened(url, None) as platform:
        import time

        from core_world import AT_ONCE, manifest

        platform.add_task("digits")
        platform.add_version("digits", 1, commit="", message="", signer="", manifest=manifest("digits", 1))
        platform.create_release("digits", 1, AT_ONCE)
        from walle_deploy.profile import Profile

        made = [answer(platform.check(Profile("one"))).counter for _ in range(5)]
        assert made == sorted(set(made))
        assert abs(made[0] / 1e6 - time.time()) < 2 * AHEAD / 1e6


def test_a_database_gives_them_to_all_workers(postgres):
    one, other = (Database.open(url) for url in [postgres.database()] * 2)
    workers = [DatabaseCounters(one), DatabaseCounters(other)]
    seen, lock = [], threading.Lock()

    def take(worker):
        for _ in range(100):
            with lock:  # so that the order in which they are given is known
                seen.append(worker.next())

    threads = [threading.Thread(target=take, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == sorted(set(seen))
    workers[0].close()
    assert workers[0].next() > seen[-1]
    for worker in workers:
        worker.close()
    one.close()
    other.close()


def test_a_database_that_went_away_is_busy(postgres):
    import sqlalchemy as sa
    from walle_deploy.server.refusals import BusyError

    url = postgres.database()
    database = Database.open(url)
    worker = DatabaseCounters(database)
    first = worker.next()
    pid = worker._connection.info.backend_pid
    database.write(lambda found: found.execute(sa.text(f"SELECT pg_terminate_backend({pid})")))
    with pytest.raises(BusyError, match="no counter"):
        worker.next()
    assert worker.next() > first
    worker.close()
    database.close()


def test_the_clock_that_is_shared(monkeypatch):
    assert steady.clock_name() == steady.clock_name()
    assert 0 < steady.steady_us() <= steady.steady() * 1e6 + 1
    monkeypatch.setattr(steady, "Path", lambda *_: (_ for _ in ()).throw(OSError))
    assert steady.clock_name() != steady.clock_name()
    monkeypatch.setattr(steady, "_BOOT", None)
    assert 0 < steady.steady_us() <= steady.steady() * 1e6 + 1


def test_a_clock_that_jumps_ahead_does_not_expire_what_devices_have(sqlite_world):
    world = sqlite_world
    world.task()
    world.stable()
    first = answer(world.platform.check(world.profile("one")))
    assert (first.issued, first.expires) == (1_800_000_000, 1_800_000_000 + 7 * 86_400)
    world.clock.now += 1e9
    jumped = answer(world.platform.check(world.profile("one")))
    assert first.issued <= jumped.issued <= first.issued + 86_400 + 60
    world.clock.now = -5.0
    assert answer(world.platform.check(world.profile("one"))).issued == 0
