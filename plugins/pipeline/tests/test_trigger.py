"""Triggers: live changes, timeouts, spans, bounds, snapshots, packed rows, hostile events."""

import gc
import random
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pattern_oracle import matches
from test_trigger_oracle import got, patterns, sequences
from walle_pipeline import (
    Click,
    Event,
    Exposure,
    PageEnter,
    PageExit,
    Schema,
    Scroll,
    Trigger,
    click,
    event,
    exposure,
    page_enter,
    page_exit,
    page_visit,
    scroll,
)
from walle_pipeline._engine import Engine
from walle_pipeline._packing import Packer
from walle_pipeline.errors import EventError, FlowError


def run(trigger, events):
    fired = trigger.feed(events)
    return [(m.task, tuple(e.id for e in m.events)) for m in fired.matches]


def e(kind, time, id, page="item", key="u", instance=0, **contents):
    return kind(page, time, key, id, instance, contents)


def test_one_event_fires_many_tasks():
    trigger = Trigger()
    trigger.add("a", click("item"))
    trigger.add("b", event("*", "item"))
    trigger.add("c", click("*"), exposure("*"))
    assert sorted(run(trigger, [e(Click, 1, 1)])) == [("a", (1,)), ("b", (1,)), ("c", (1,))]


def test_shared_prefixes_share_nodes():
    trigger = Trigger()
    for number in range(1000):
        trigger.add(
            f"t{number}", page_enter("home").followed_by(click("home")).followed_by(exposure(f"p{number}"))
        )
    assert trigger.stats()["nodes"] == 1002
    run(trigger, [e(PageEnter, 1, 1, "home"), e(Click, 2, 2, "home")])
    assert trigger.stats()["partials"] == 1, "one partial match stands for a thousand patterns"
    assert run(trigger, [e(Exposure, 3, 3, "p7")]) == [("t7", (1, 2, 3))]
    assert run(trigger, [e(Exposure, 4, 4, "p7"), e(Exposure, 5, 5, "p8")]) == [("t8", (1, 2, 5))]


def test_timeouts_go_to_the_side_output():
    trigger = Trigger()
    trigger.add("cart", page_enter("item").followed_by(click("item")).within(1).timeouts())
    trigger.add("slow", page_enter("item").followed_by(click("item")).within(5).timeouts())
    assert run(trigger, [e(PageEnter, 1000, 1)]) == []
    assert trigger.deadline == 2000
    assert trigger.expire(1999).timeouts == []
    (timeout,) = trigger.expire(2000).timeouts
    assert (timeout.task, timeout.time, timeout.timeout, [x.id for x in timeout.events]) == (
        "cart",
        2000,
        True,
        [1],
    )
    fired = trigger.feed([e(Click, 4000, 2)])
    assert [(m.task, m.timeout) for m in fired.matches] == [("slow", False)]
    assert trigger.deadline is None or trigger.expire(10_000).timeouts == []
    assert trigger.stats()["keys"] == 0


def test_a_span_holds_all_events_of_one_page_visit():
    trigger = Trigger()
    trigger.add("visit", page_visit("item"))
    events = [
        e(PageEnter, 1, 1, instance=1, source="list"), e(Click, 2, 2, instance=1, n=1), e(PageEnter, 3, 3, instance=2),
        e(Exposure, 4, 4, instance=2), e(Click, 5, 5, "other", instance=9), e(PageExit, 6, 6, instance=1),
        e(PageExit, 7, 7, instance=2),
    ]  # fmt: skip
    found = trigger.feed(events).matches
    assert [[x.id for x in m.span] for m in found] == [[1, 2, 6], [3, 4, 7]]
    assert next(m.span for m in found) == (events[0], events[1], events[5]), (
        "contents and typed fields survive packing"
    )
    assert trigger.stats()["keys"] == 0


def test_sequences_cross_pages():
    trigger = Trigger()
    trigger.add("x", page_exit("list").next(page_enter("item")).followed_by(click("item")).span())
    found = trigger.feed(
        [e(PageExit, 1, 1, "list"), e(PageEnter, 2, 2), e(Exposure, 3, 3), e(Click, 4, 4)]
    ).matches
    assert [x.id for x in found[0].span] == [1, 2, 3, 4]
    assert [x.id for x in found[0].events] == [1, 2, 4]


def test_live_changes_keep_other_partial_matches():
    trigger = Trigger()
    trigger.add("stays", page_enter("item").followed_by(click("item")))
    trigger.add("goes", page_enter("item").followed_by(click("item")).followed_by(page_exit("item")))
    run(trigger, [e(PageEnter, 1, 1)])
    trigger.remove("goes")
    trigger.add("new", page_enter("item").followed_by(exposure("item")))
    assert run(trigger, [e(Exposure, 2, 2)]) == [], "a new pattern does not begin with an old event"
    trigger.replace("new", exposure("item"))
    assert run(trigger, [e(Click, 3, 3), e(Exposure, 4, 4)]) == [("stays", (1, 3)), ("new", (4,))]
    with pytest.raises(FlowError, match="no kind of event 'nothing'"):
        trigger.replace("new", event("nothing"))
    assert run(trigger, [e(Exposure, 5, 5)]) == [("new", (5,))], "a failed replacement keeps the old pattern"
    with pytest.raises(FlowError, match="has a trigger already"):
        trigger.add("new", event())


def test_many_changes_leave_nothing_behind():
    trigger = Trigger()
    trigger.add("stays", page_enter("item").followed_by(click("item")))
    run(trigger, [e(PageEnter, 1, 1)])
    for number in range(5000):
        trigger.add("comes", page_enter("item").followed_by(click(f"p{number}", where=lambda x: True)))
        trigger.remove("comes")
    assert trigger.engine.dead_nodes <= 1001
    assert trigger.stats()["nodes"] == 2
    assert run(trigger, [e(Click, 2, 2)]) == [("stays", (1, 2))], (
        "a partial match outlives the move to a new engine"
    )
    assert trigger.stats() | {"events": 2, "matches": 1} == trigger.stats()


def test_partial_matches_are_bounded_and_cuts_counted():
    trigger = Trigger(partials=100)
    trigger.add("never", click("item").followed_by(scroll("never")).within(None))
    trigger.feed([e(Click, i, i) for i in range(100_000)])
    stats = trigger.stats()
    assert stats["partials"] <= 100
    assert stats["partials"] + stats["cut"] == 100_000
    small = Trigger(kept=10_000)
    small.add("span", click("item").followed_by(scroll("never")).within(None).span())
    small.feed([e(Click, 0, 0), *(e(Exposure, i, i, text="x" * 100) for i in range(1000))])
    assert small.stats() | {"cut": 1, "partials": 0, "keys": 0} == small.stats()


def test_a_match_that_waited_for_one_that_was_cut_is_reported():
    trigger = Trigger(kept=10_000)
    trigger.add("t", event("*", "a").repeat(0, None).next(click("*")).within(None).span())
    events = [e(PageEnter, 0, 0, "a"), e(PageEnter, 1, 1, "b"), e(Click, 2, 2, "b")]
    assert run(trigger, events) == [], "one that began earlier may still match"
    assert run(trigger, [e(Exposure, 3 + i, 3 + i, "b", text="x" * 100) for i in range(200)]) == [("t", (2,))]
    assert trigger.stats() | {"cut": 1, "keys": 0} == trigger.stats()


def test_a_condition_that_raises_is_false_and_reported():
    trigger = Trigger()
    trigger.add("a", click("item", where=lambda x: x.contents["price"] > 3))
    assert run(trigger, [e(Click, 1, 1), e(Click, 2, 2, price=5), e(Click, 3, 3, price=1)]) == [("a", (2,))]
    ((failed, _, error),) = trigger.engine.errors
    assert failed.id == 1
    assert isinstance(error, KeyError)


def test_events_that_the_schema_does_not_have_are_refused():
    class Other(Event, frozen=True, tag="other"):
        pass

    trigger = Trigger()
    trigger.add("a", event())
    with pytest.raises(EventError, match="Other is not in the schema"):
        trigger.feed([e(Click, 1, 1), Other("p", 1)])
    wider = Trigger(Schema.BASIC.with_kinds(Other))
    wider.add("a", event(Other))
    assert run(wider, [Other("p", 1, "u", 7)]) == [("a", (7,))]


def test_contents_that_cannot_be_packed_do_not_stop_the_rest():
    trigger = Trigger()
    trigger.add("a", click("item"))
    assert run(trigger, [e(Click, 1, 1, bad=object()), e(Click, 2, 2)]) == [("a", (1,)), ("a", (2,))]
    assert trigger.engine.errors[0][0].id == 1


def test_more_pages_than_are_numbered():
    trigger = Trigger()
    trigger.engine = type(trigger.engine)(trigger.schema, pages=4)
    trigger.add("a", page_enter("*").followed_by(page_exit("*")).span())
    events = [
        e(PageEnter, 1, 1, "a"),
        *(e(Click, 2, i, f"page {i}", n=i) for i in range(2, 9)),
        e(PageExit, 3, 9, "z"),
    ]
    (match,) = trigger.feed(events).matches
    assert list(match.span) == events


def test_pages_that_have_no_number_any_more_come_back_from_a_snapshot():
    state = None
    for pages in (65536, 4):
        engine = Engine(Schema.BASIC, pages=pages)
        trigger = Trigger()
        trigger.engine = engine
        trigger.add("visit", page_enter("*").followed_by(click("*")).within(None).span())
        if state is None:
            trigger.feed(
                [*(e(PageExit, 0, 0, f"p{n}") for n in range(9)), e(PageEnter, 1, 1, "shop", text="x")]
            )
            state = trigger.snapshot()
    trigger.restore(state)
    (match,) = trigger.feed([e(Click, 2, 2, "shop")]).matches
    assert [(x.page, x.id, x.contents) for x in match.span] == [("shop", 1, {"text": "x"}), ("shop", 2, {})]


def test_closed_keys_leave_nothing_behind():
    trigger = Trigger()
    trigger.add("visit", page_visit("item"))
    for number in range(1000):
        assert (
            len(
                trigger.feed(
                    [e(PageEnter, 1, 1, key=f"u{number}"), e(PageExit, 2, 2, key=f"u{number}")]
                ).matches
            )
            == 1
        )
    assert trigger.stats() | {"keys": 0, "partials": 0, "matches": 1000} == trigger.stats()


def test_keys_that_wait_are_packed_and_nobody_sees_it():
    rng = random.Random(3)
    names = [f"user-{n}" for n in range(3000)] + ["", "\ud800", "é" * 300, "x" * 5000, "\0", "\1user-1"]
    visits = [(name, instance) for name in names for instance in (0, 1, 2**64 - 1)]
    first = [e(PageEnter, n, n, key=key, instance=i, n=n) for n, (key, i) in enumerate(visits)]
    second = [e(Scroll, 20_000 + n, 20_000 + n, key=key, instance=i) for n, (key, i) in enumerate(visits)]
    last = [e(PageExit, 40_000 + n, 40_000 + n, key=key, instance=i) for n, (key, i) in enumerate(visits)]
    for events in (second, last):
        rng.shuffle(events)
    found = []
    for awake in (8, 10**6):
        trigger = Trigger(awake=awake)
        trigger.add("visit", page_visit("item").within(10**6))
        trigger.add("past", page_enter("item").followed_by(scroll("item")).repeat(1, 3).within(None))
        trigger.add("any", click("*").followed_by_any(scroll("*")).after_match("no_skip"))
        for some in (first, second):
            trigger.feed(some)
        stats = trigger.stats()
        assert stats["awake"] <= 16 if awake == 8 else stats["awake"] == stats["keys"]
        state = trigger.snapshot()
        fired = trigger.feed(last).matches
        found.append([(m.task, m.key, tuple(m.span)) for m in fired])
        again = Trigger(awake=awake)
        for task, some in trigger.patterns.items():
            again.add(task, *some)
        again.restore(state)
        assert [(m.task, m.key, tuple(m.span)) for m in again.feed(last).matches] == found[-1]
    assert found[0] == found[1]
    spans = {(m[1], m[2][0].instance): [x.id for x in m[2]] for m in found[0] if m[0] == "visit"}
    ids = {(x.key, x.instance): [x.id] for x in first}
    for x in (*second, *last):
        ids[x.key, x.instance].append(x.id)
    assert spans == ids


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=200), st.sampled_from([1, 2, 5, 4096]))
def test_keys_come_and_go(steps, awake):
    trigger, waiting = Trigger(awake=awake), {}
    trigger.add("t", page_enter("item").followed_by(page_exit("item")).after_match("no_skip"))
    for number, (key, enter) in enumerate(steps):
        fired = trigger.feed([e(PageEnter if enter else PageExit, 1, number, key=f"k{key}")]).matches
        if enter:
            waiting.setdefault(key, []).append(number)
            assert fired == []
        else:
            assert [m.first.id for m in fired] == waiting.pop(key, [])
        assert trigger.stats()["keys"] == len(waiting)


@settings(max_examples=300, deadline=None)
@given(st.lists(patterns(), min_size=1, max_size=3), sequences(), st.integers(0, 14), st.randoms())
def test_a_snapshot_goes_on_where_it_was_taken(made, events, cut, rng):
    def built(order):
        trigger = Trigger()
        for number in order:
            trigger.add(f"t{number}", made[number])
        return trigger

    whole = built(range(len(made)))
    expected = [m for x in events for m in whole.feed([x]).matches] + whole.finish().matches
    first = built(range(len(made)))
    found = first.feed(events[:cut]).matches
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(first.snapshot()))
    order = list(range(len(made)))
    rng.shuffle(order)
    second = built(order)
    assert second.restore(state) == 0
    found += second.feed(events[cut:]).matches + second.finish().matches
    for number in range(len(made)):
        mine = [[m for m in some if m.task == f"t{number}"] for some in (expected, found)]
        assert got(mine[0]) == got(mine[1])


@settings(max_examples=200, deadline=None)
@given(st.lists(patterns(), min_size=1, max_size=3), sequences())
def test_packed_rows_match_as_events_do(made, events):
    packer = Packer(Schema.BASIC)
    for x in events:
        packer.add(x)
    assert packer.events() == events
    triggers = [Trigger(), Trigger()]
    for trigger in triggers:
        for number, pattern in enumerate(made):
            trigger.add(f"t{number}", pattern)
    one = triggers[0].feed(events).matches
    two, _, taken = triggers[1].engine.feed_packed(
        packer.rows_bytes, list(range(5)), packer.page_names, packer.key_names
    )
    assert taken == len(events)
    assert [(m.task, m.events) for m in one] == [(m.task, m.events) for m in two]


def test_damaged_rows_are_refused():
    packer = Packer(Schema.BASIC)
    rng = random.Random(3)
    for number in range(20):
        packer.add(e(Click, number, number, n=number))
    rows = packer.rows_bytes
    for _ in range(2000):
        damaged = bytearray(rows)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        trigger = Trigger()
        trigger.add("a", event().followed_by(event()).span())
        try:
            for match in trigger.engine.feed_packed(
                bytes(damaged[: rng.randint(1, len(damaged))]),
                list(range(5)),
                packer.page_names,
                packer.key_names,
            )[0]:
                match.span  # noqa: B018
        except EventError:
            pass


def test_patterns_that_cannot_work_are_refused():
    for pattern, text in (
        (click().optional(), "may not be optional"),
        (click().not_before(scroll()).followed_by(click()), "first step"),
        (
            click().repeat(100).followed_by(click().repeat(100)).followed_by(click().repeat(100)),
            "at most 256",
        ),
    ):
        with pytest.raises(FlowError, match=text):
            Trigger().add("a", pattern)
    for call in (
        lambda: click().repeat(3, 2), lambda: click().repeat(-1), lambda: click().within(0),
        lambda: click().after_match("sometimes"), lambda: click().not_before(click().followed_by(click())),
    ):  # fmt: skip
        with pytest.raises(FlowError):
            call()


def test_oracle_can_fail():
    trigger = Trigger()
    trigger.add("a", click().followed_by(scroll()))
    events = [e(Click, 1, 1), e(Click, 2, 2)]
    assert matches(click().followed_by(click()), events) == [[0, 1]]
    assert run(trigger, events) == []
    gc.collect()


def widget(name):
    return lambda event: event.contents.get("w") == name


def gated(name):
    return click("p", where=widget(name)).followed_by(page_exit("p"))


def test_conditions_of_one_name_do_not_mix_when_the_engine_is_renewed_or_restarted():
    trigger = Trigger()
    for name in ("one", "two", "three"):
        trigger.add(name, gated(name))
    run(trigger, [e(Click, 0, 1, "p", w="two")])
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(trigger.snapshot()), strict=False)
    trigger.remove("one")
    for number in range(1200):
        trigger.add("comes", click(f"p{number}").followed_by(click()))
        trigger.remove("comes")
    assert run(trigger, [e(PageExit, 1, 2, "p")]) == [("two", (1, 2))]
    other = Trigger()
    for name in ("three", "two", "new"):
        other.add(name, gated(name))
    other.restore(state)
    assert run(other, [e(PageExit, 1, 2, "p")]) == [("two", (1, 2))]


def test_a_nearer_deadline_is_seen_behind_a_later_one():
    trigger = Trigger()
    trigger.add("slow", page_enter("a").followed_by(page_exit("a")))
    trigger.add("fast", click("b").followed_by(page_exit("b")).within(10).timeouts())
    run(trigger, [e(PageEnter, 0, 1, "a", "z"), e(PageEnter, 500, 1, "a"), e(Click, 1000, 2, "b")])
    assert trigger.deadline == 11_000
    assert [m.task for m in trigger.expire(20_000).timeouts] == ["fast"]


def test_timeouts_are_reported_once_whatever_changes():
    for change in ("add", "remove", "restore"):
        trigger = Trigger()
        pattern = page_enter("a").followed_by(page_exit("a")).timeouts()
        trigger.add("A", pattern.within(10))
        trigger.add("B", pattern.within(100))
        run(trigger, [e(PageEnter, 0, 1, "a")])
        assert [m.task for m in trigger.expire(20_000).timeouts] == ["A"]
        if change == "add":
            trigger.add("C", pattern.within(5))
        elif change == "remove":
            trigger.remove("A")
        else:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(trigger.snapshot()), strict=False)
            trigger = Trigger()
            trigger.add("B", pattern.within(100))
            trigger.restore(state)
        assert [m.task for m in trigger.expire(200_000).timeouts] == ["B"], change


def test_a_timeout_is_not_reported_again_where_a_longer_pattern_goes_on():
    steps = page_enter("a").followed_by(click("a")).optional().followed_by(exposure("a"))
    trigger = Trigger()
    trigger.add("long", steps.within(None))
    trigger.add("short", steps.within(0.004).timeouts())
    events = [e(PageEnter, 3, 1, "a"), e(Scroll, 12, 2, "a"), e(Click, 13, 3, "a"), e(Scroll, 15, 4, "a")]
    assert [(m.task, m.time) for x in events for m in trigger.feed([x]).timeouts] == [("short", 7)]


def test_a_condition_that_asks_to_exit_is_false():
    trigger = Trigger()
    trigger.add("a", click("item", where=lambda x: sys.exit(1)))
    assert run(trigger, [e(Click, 1, 1), e(Click, 2, 2)]) == []
    assert trigger.stats()["failed"] == 2


def test_removed_patterns_leave_no_partial_matches():
    trigger = Trigger()
    trigger.add("A", page_enter("a").followed_by(page_exit("a")).within(None))
    trigger.feed([e(PageEnter, 0, 1, "a", f"k{n}") for n in range(100)])
    trigger.add("B", page_enter("a").followed_by(page_exit("a")).within(10))
    trigger.feed([e(PageEnter, 0, 1, "a", f"l{n}") for n in range(100)])
    trigger.remove("A")
    trigger.expire(1 << 50)
    assert trigger.stats() | {"partials": 0, "keys": 0} == trigger.stats()


def test_replaced_conditions_are_not_asked_any_more():
    asked = []
    trigger = Trigger()
    trigger.add("t", click(where=lambda x: asked.append(x) or True))
    for number in range(50):
        trigger.replace("t", click(where=lambda x, n=number: asked.append(x) or True))
    run(trigger, [e(Click, 1, 1)])
    assert len(asked) == 1


def test_a_damaged_snapshot_of_a_trigger_is_refused():
    trigger = Trigger()
    trigger.add("t", click().followed_by(page_exit()))
    run(trigger, [e(Click, 1, 1)])
    state = trigger.snapshot()
    for steps in ([], [5], [0, 0], ["x"], None):
        damaged = msgspec.msgpack.decode(msgspec.msgpack.encode(state), strict=False)
        damaged["keys"][0][1][4][0][5] = steps
        again = Trigger()
        again.add("t", click().followed_by(page_exit()))
        with pytest.raises((ValueError, TypeError)):
            again.restore(damaged)
