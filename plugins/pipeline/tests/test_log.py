"""The event log: replay bit for bit, damage, torn ends, full disks, kill -9. Explanations agree with the engine."""

import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from test_trigger_oracle import patterns, sequences
from walle_pipeline import Click, PageEnter, PageExit, Schema, Trigger, click, page_enter, page_exit, scroll
from walle_pipeline.errors import LogError
from walle_pipeline.explain import explain
from walle_pipeline.log import Damage, EventLog, read
from walle_pipeline.pattern import ANY


def some(n, seed=1):
    rng = random.Random(seed)
    kinds = [PageEnter, Click, PageExit]
    return [
        rng.choice(kinds)(
            f"p{rng.randrange(9)}", rng.randrange(1 << 50), f"u{rng.randrange(5)}", rng.randrange(1 << 53),
            rng.randrange(9), {"n": rng.random()} if rng.random() < 0.5 else {},
        )
        for _ in range(n)
    ]  # fmt: skip


def test_a_log_replays_bit_for_bit(tmp_path):
    events = some(5000)
    with EventLog(tmp_path / "a") as log:
        log.append(events[:2500])
    with EventLog(tmp_path / "a") as log:
        log.append(events[2500:])
    replayed = list(read(tmp_path / "a"))
    assert replayed == events
    with EventLog(tmp_path / "b") as log:
        log.append(replayed[:2500])
        log.flush()
        log.append(replayed[2500:])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_log_outlives_a_change_of_the_schema(tmp_path):
    events = some(100)
    with EventLog(tmp_path / "a") as log:
        log.append(events)
    turned = Schema(*reversed(Schema.BASIC.kinds.values()))
    assert list(read(tmp_path / "a", turned)) == events
    (damage,) = read(tmp_path / "a", Schema(Click))
    assert "no kind of event" in damage.reason


def test_damage_costs_its_block_only(tmp_path):
    path = tmp_path / "a"
    events = some(1000)
    with EventLog(path, block=10) as log:
        log.append(events)
    whole = path.read_bytes()
    rng = random.Random(5)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[rng.randrange(20, len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        found = list(read(path))
        good = [x for x in found if not isinstance(x, Damage)]
        assert len(good) >= 1000 - 6 * 10
        assert len(good) < 1000
        assert all(x in events for x in good[::97])
        assert any(isinstance(x, Damage) for x in found)


def test_a_torn_end_is_cut_off_and_the_log_goes_on(tmp_path):
    path = tmp_path / "a"
    events = some(100)
    with EventLog(path, block=10) as log:
        log.append(events)
    path.write_bytes(path.read_bytes()[:-7])
    with EventLog(path) as log:
        assert log.torn > 0
        log.append(events[:5])
    assert list(read(path)) == events[:90] + events[:5]


def test_a_file_that_is_no_log_is_refused_and_kept(tmp_path):
    (tmp_path / "a").write_bytes(b"something else entirely")
    with pytest.raises(LogError, match="no event log"):
        EventLog(tmp_path / "a")
    with pytest.raises(LogError, match="no event log"):
        list(read(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == b"something else entirely"
    with pytest.raises(LogError, match="cannot be opened"):
        EventLog(tmp_path / "no" / "such" / "folder")


def test_a_full_disk_loses_nothing_that_was_written(tmp_path):
    path = tmp_path / "a"
    events = some(3000)
    log = EventLog(path, block=10**6)
    log.append(events[:1000])
    log.flush()
    log.append(events[1000:])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5000, limits[1]))
        with pytest.raises(LogError, match="free some space"):
            log.flush()
        assert list(read(path)) == events[:1000]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    log.close()
    assert list(read(path)) == events


WRITER = """
import sys
from walle_pipeline import Click
from walle_pipeline.log import EventLog
with EventLog(sys.argv[1]) as log:
    number = 0
    while True:
        log.append([Click("p", number + i, "u", number + i) for i in range(50)])
        log.flush()
        number += 50
        print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_flushed(tmp_path):
    rng = random.Random(7)
    for turn in range(200 if os.environ.get("WALLE_FULL") else 5):
        path = tmp_path / str(turn)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            process.kill()
            printed = process.stdout.read().split(b"\n")[
                :-1
            ]  # a line may be torn, the flush before it is not
        flushed = int(printed[-1]) if printed else 50
        with EventLog(path):
            pass
        found = [x.id for x in read(path)]
        assert found == list(range(len(found)))
        assert len(found) >= flushed


@settings(max_examples=600, deadline=None)
@given(patterns(), sequences())
def test_explanations_agree_with_the_engine(pattern, events):
    events = [e for e in events if e.key == "u"]
    trigger = Trigger()
    trigger.add("t", pattern)
    fired = trigger.feed(events).matches + trigger.finish().matches
    attempts = explain(pattern, events)
    told = [[e.id for _, e in a.taken] for a in attempts if a.outcome == "fired"]
    if any(step.mode == ANY for step in pattern.steps) and pattern.after == "no_skip":
        told = sorted(path[0] for path in told)  # one of the ways from each start is told
        assert told == sorted({m.first.id for m in fired})
    else:
        assert sorted(told) == sorted([e.id for e in m.events] for m in fired)


def test_explanations_name_the_step():
    p = (
        page_enter("item")
        .followed_by(click("item"))
        .not_before(scroll())
        .followed_by(page_exit("item"))
        .within(1)
    )
    enter, clicked = PageEnter("item", 0, "u", 1), Click("item", 10, "u", 2)
    from walle_pipeline import Scroll

    for events, outcome, text in (
        ([enter, clicked, PageExit("item", 20, "u", 3)], "fired", "all 3 steps"),
        ([enter, clicked], "waiting", "waits for step 3, page_exit(item)"),
        (
            [enter, Scroll("item", 5, "u", 4), clicked],
            "forbidden",
            "event 4, scroll(*), is forbidden before step 2, click(item)",
        ),
        (
            [enter, clicked, PageExit("item", 1000, "u", 3)],
            "late",
            "1000 ms had passed before step 3, page_exit(item) came",
        ),
    ):
        (attempt,) = explain(p, events)
        assert (attempt.outcome, attempt.reason) == (outcome, attempt.reason)
        assert text in attempt.reason
    (lost,) = explain(page_enter("item").next(click("item")), [enter, PageExit("item", 20, "u", 3)])
    assert "step 2, click(item); it was event 3, page_exit(item)" in lost.reason
