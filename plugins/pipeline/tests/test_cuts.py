"""What comes out depends on the events, not on how they were cut into calls, nor on the order in which they arrived."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from test_trigger_oracle import patterns, sequences
from walle_pipeline import (
    Click,
    Exposure,
    Flow,
    PageEnter,
    PageExit,
    Pipeline,
    Scroll,
    Trigger,
    Window,
    click,
    collect,
    count,
    exposure,
    hopping,
    page_enter,
    page_exit,
    session,
    several,
    sum_of,
    tumbling,
)
from walle_pipeline.matching import waits

# Of two enters, the second has an exposure right behind it; the first may still take a click.
HELD = page_enter().followed_by(click().optional()).next(exposure())
ANYHOW = page_enter().followed_by_any(click()).next(page_exit())


def picked(value):
    """Raises for some values, so that ``errors`` has something in order too."""
    return value // (value % 5)


def flow_of(found, made):
    flow = Flow("f")

    def to(name, stream):
        stream.to(found.setdefault(name, []))

    matched = flow.on(*made)
    ids = matched.map(lambda m: (m.key, [e.id for e in m.events]))
    to("matches", ids)
    sides = [("late", flow.events().side("late")), ("timeouts", matched.side("timeouts"))]
    named = {name: stream.map(lambda e: getattr(e, "id", 0) or e.time) for name, stream in sides}
    numbers = flow.events().map(lambda e: e.id)
    for name, stream in {"match": ids, "event": numbers, **named}.items():
        to(f"{name} tumbling", stream.window(tumbling(3)))
        to(f"{name} hopping", stream.key_by(lambda _: 0).window(hopping(8, 3)))
        to(f"{name} session", stream.window(session(2), count()).count(tumbling(5)))
    to("join", ids.map(lambda v: v[1][0]).join(numbers, 3, limit=2))
    to("after", ids.window(tumbling(4)).join(numbers.count(hopping(6, 2)), 4))
    for name, shape in (("hop", hopping(6, 2)), ("silence", session(3))):
        failing = numbers.window(shape, several(n=sum_of(picked)))
        failing = failing.map(lambda w: w.value["n"] // (w.start % 3))
        to(name, failing)
        to(f"{name} errors", failing.side("errors").map(lambda f: f.time).window(tumbling(3)))
    to("once", ids.dedupe(lambda v: v[0], keep_ms=4))
    return flow


def ran(events, sizes, made, **settings):
    found, at = {}, 0
    with Pipeline(flow_of(found, made), ahead_ms=None, **settings) as pipeline:
        for size in (*sizes, len(events) or 1):
            pipeline.feed(events[at : at + size])
            at += size
        pipeline.finish()
        stats = pipeline.stats()
    return found, {name: stats[name] for name in ("late", "duplicates", "matches", "timeouts", "errors")}


@st.composite
def overtaken(draw):
    """As `sequences`, often such that a later start is complete before an earlier one."""
    time, made = 0, []
    for kind in draw(
        st.lists(
            st.sampled_from([PageEnter, PageEnter, Scroll, Exposure, Exposure, Click, PageExit]), max_size=14
        )
    ):
        time += draw(st.sampled_from([0, 1, 1, 2, 9]))
        made.append(kind("a", time, draw(st.sampled_from("uuv")), len(made) + 1))
    return made


held = st.sampled_from([None, 0.004, 0.008]).map(HELD.within)
made_of = st.lists(st.one_of(patterns(), held, held, st.just(ANYHOW)), min_size=1, max_size=3)
events_of = st.one_of(sequences(), overtaken())
cuts = st.lists(st.integers(1, 6), max_size=15)


@settings(max_examples=300, deadline=None)
@given(made_of, events_of, cuts, st.booleans())
def test_any_cut_of_events_into_calls_gives_the_same_output(made, events, sizes, timeouts):
    if timeouts:
        made = [p.within(0.008 if p.within_ms is None else p.within_ms / 1000).timeouts() for p in made]
    expected = ran(events, [1] * len(events), made)
    assert ran(events, [], made) == expected
    assert ran(events, sizes, made) == expected


@settings(max_examples=150, deadline=None)
@given(made_of, events_of, cuts, st.integers(0, 8), st.integers(0, 9), st.randoms())
def test_any_cut_of_events_in_any_order_gives_the_same_output(made, events, sizes, lateness, remember, rng):
    """Also where events come too late, or twice."""
    arrived = sorted(
        [*events, *rng.sample(events, len(events) // 3)], key=lambda e: e.time + rng.uniform(0, 12)
    )
    kept = {"lateness_ms": lateness, "dedupe_ms": remember}
    expected = ran(arrived, [1] * len(arrived), made, **kept)
    assert ran(arrived, [], made, **kept) == expected
    assert ran(arrived, sizes, made, **kept) == expected


@settings(max_examples=150, deadline=None)
@given(made_of, events_of, cuts, st.integers(0, 8), st.randoms())
def test_matches_that_wait_come_alike_for_any_arrival_within_the_lateness(made, events, sizes, lateness, rng):
    inorder = sorted(events, key=lambda e: (e.time, e.key, e.id))
    arrived = sorted(inorder, key=lambda e: e.time + rng.uniform(0, lateness))
    expected = ran(inorder, [1] * len(events), made)
    found = ran(arrived, sizes, made, lateness_ms=lateness)
    assert found == expected


@settings(max_examples=500, deadline=None)
@given(st.one_of(patterns(), held, st.just(ANYHOW)), events_of)
def test_matches_of_patterns_that_need_not_wait_come_at_once(pattern, events):
    trigger = Trigger()
    trigger.add("t", pattern)
    for event in events:
        for match in trigger.feed([event]).matches:
            assert waits(pattern) or match.time == event.time
    assert waits(pattern) or not trigger.finish().matches


def test_a_match_that_waited_comes_when_it_is_decided():
    """The enter of u at 0 may still match until 10; the match of 2 and 3 waits for it, and is in the window of 10."""
    pattern = HELD.within(0.01)
    events = [
        PageEnter("p", 0, "u", 1), Scroll("p", 1, "u", 2), PageEnter("p", 2, "u", 3), Exposure("p", 3, "u", 4),
        PageEnter("p", 6, "v", 5), Exposure("p", 7, "v", 6), Click("p", 30, "v", 7), Click("p", 31, "u", 8),
    ]  # fmt: skip
    assert waits(pattern)
    outputs = []
    for size in (1, 2, len(events)):
        found = []
        flow = Flow("f")
        flow.on(pattern).map(lambda m: m.first.id).window(tumbling(5), collect()).to(found)
        with Pipeline(flow, ahead_ms=None) as pipeline:
            for first in range(0, len(events), size):
                pipeline.feed(events[first : first + size])
            pipeline.finish()
        outputs.append(found)
    assert outputs[0] == outputs[1] == outputs[2]
    assert outputs[0] == [Window("v", 5, 10, [5]), Window("u", 10, 15, [3])]


def test_a_long_random_run_comes_alike_for_any_cut():
    dice = random.Random(5)
    time, events = 0, []
    for number in range(1, 1500):
        time += dice.choice([0, 0, 1, 3])
        kind = dice.choice([PageEnter, Click, Click, PageExit, Exposure, Scroll])
        events.append(
            kind(dice.choice("ab"), max(0, time - dice.choice([0, 0, 0, 6])), dice.choice("uvw"), number)
        )
    made = [HELD.within(0.02), ANYHOW.within(0.02).timeouts()]
    for lateness in (0, 4):
        expected = ran(events, [1] * len(events), made, lateness_ms=lateness)
        for seed in range(3):
            sizes = [random.Random(seed).randrange(1, 40) for _ in range(200)]
            assert ran(events, sizes, made, lateness_ms=lateness) == expected
