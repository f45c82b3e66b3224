"""What goes wrong in a flow costs what it must and no more: functions, sinks, events, snapshots."""

import time

import pytest
from pipeline_flows import clicks, everything, lists
from walle_pipeline import (
    Aggregate,
    Click,
    Event,
    Exposure,
    Flow,
    Pipeline,
    click,
    event,
    exposure,
    hopping,
    session,
    sum_of,
    tumbling,
)
from walle_pipeline.errors import FlowError, LogError, StoreError
from walle_pipeline.guard import FunctionMemoryError, FunctionTimeoutError


def test_damaged_and_foreign_snapshots_are_refused():
    with Pipeline(Flow_f := everything(lists()), ahead_ms=None) as pipeline:
        state = pipeline.snapshot()
        for bad in (b"", b"\x00", state[:-3], b"\x81\xa7version\x63"):
            with pytest.raises(LogError, match="start without it"):
                Pipeline(ahead_ms=None).restore(bad)
        other = Flow("f")
        other.events().map(str).to([])
        with pytest.raises(FlowError, match="was changed"):
            Pipeline(other, ahead_ms=None).restore(state)
        assert Flow_f.name in pipeline.flows


def test_a_function_that_raises_costs_its_item_only(run):
    found, failed = [], []
    flow = Flow("f")
    mapped = flow.events("click").map(lambda e: 10 // (e.id - 2))
    mapped.to(found)
    mapped.side("errors").to(failed)
    pipeline = run(clicks([1, 2, 3, 4]), flow, batch=4)
    assert found == [-10, 10, 5]
    assert [(f.flow, f.step, f.value.id, f.time) for f in failed] == [("f", "map", 2, 2)]
    assert isinstance(failed[0].error, ZeroDivisionError)
    assert pipeline.stats()["errors"] == 1
    for step in ("filter", "key_by", "flat_map", "window"):
        out = []
        broken = Flow("f")
        stream = broken.events("click")
        if step == "window":
            stream.window(tumbling(1000), sum_of(lambda e: 10 // (e.id - 2))).map(lambda w: w.value).to(out)
        else:
            getattr(stream, step)(lambda e: (10 // (e.id - 2),)).map(lambda e: 1).to(out)
        run(clicks([1, 2, 3, 4]), broken, batch=4)
        assert out == ([5] if step == "window" else [1, 1, 1]), step


def test_a_function_that_hangs_is_interrupted(run):
    def slow(event):
        while event.id == 2:
            pass
        return event.id

    found = []
    flow = Flow("f")
    flow.events("click").map(slow).to(found)
    started = time.monotonic()
    pipeline = run(clicks([1, 2, 3]), flow, batch=3, seconds=0.2)
    assert found == [1, 3]
    assert isinstance(pipeline.failures[0].error, FunctionTimeoutError)
    assert time.monotonic() - started < 5


def test_a_function_that_takes_memory_without_bound_is_interrupted(run):
    def greedy(event):
        kept = []
        while event.id == 2:
            kept.append(bytearray(1 << 20))
            time.sleep(0.001)
        return event.id

    found = []
    flow = Flow("f")
    flow.events("click").map(greedy).to(found)
    pipeline = run(clicks([1, 2, 3]), flow, batch=3, seconds=60, memory=64 << 20)
    assert found == [1, 3]
    assert isinstance(pipeline.failures[0].error, FunctionMemoryError)


def test_a_sink_that_refuses_is_asked_again(run):
    class Store:
        def __init__(self):
            self.rows, self.full = [], True

        def put_many(self, table, rows):
            if self.full:
                raise StoreError("full")
            self.rows += [(table, *row) for row in rows]

    store = Store()
    flow = Flow("f")
    flow.events("click").map(lambda e: e.id).to(store, table="t")
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed(clicks([5, 5]))
        assert pipeline.stats()["sinks_waiting"] == 2
        store.full = False
        pipeline.feed([Click("p", 6, "u", 3)])
        assert pipeline.stats()["sinks_waiting"] == 0
    assert store.rows == [
        ("t", "f/u/5/0", b"\x01", 5), ("t", "f/u/5/1", b"\x02", 5), ("t", "f/u/6/0", b"\x03", 6),
    ]  # fmt: skip


class Shop:
    """A store that is full until told otherwise."""

    def __init__(self):
        self.rows, self.full = {}, True

    def put_many(self, table, rows):
        if self.full:
            raise StoreError("full")
        for key, value, _ in rows:
            assert key not in self.rows, "one name for two items"
            self.rows[key] = value


@pytest.mark.parametrize("change", ["remove", "replace"])
def test_what_sinks_of_ended_flows_hold_back_is_offered_again(change):
    def flow():
        made = Flow("f")
        made.events("click").map(lambda e: e.id).to(shop, table="t")
        return made

    shop = Shop()
    with Pipeline(flow(), ahead_ms=None) as pipeline:
        pipeline.feed([Click("p", 5, "u", 1), Click("p", 5, "u", 2)])
        if change == "remove":
            pipeline.remove("f")
        else:
            pipeline.replace(flow())
            pipeline.feed([Click("p", 5, "u", 3)])
        assert pipeline.stats()["sinks_waiting"] == (2 if change == "remove" else 3)
        shop.full = False
        pipeline.feed([Exposure("p", 6, "u", 4)])
        pipeline.retry()
        assert pipeline.stats()["sinks_waiting"] == 0
    assert list(shop.rows.values()) == [bytes([n]) for n in (1, 2, 3)][: 2 if change == "remove" else 3]


def test_what_is_held_back_at_the_end_is_offered_once_more_and_told(caplog):
    shop, flow = Shop(), Flow("f")
    flow.events().map(lambda e: e.id).to(shop)
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed(clicks([1, 2]))
    assert "hold back 2 items" in caplog.text
    with pytest.raises(FlowError, match="closed"):
        pipeline.feed(clicks([3]))


def test_an_item_for_which_a_sink_fails_is_set_aside():
    shop, flow = Shop(), Flow("f")
    shop.full = False
    flow.events().map(lambda e: e.id).to(shop, key=lambda n: 10 // (n - 2))
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed(clicks([1, 2, 3]))
        pipeline.retry()
        assert [type(f.error) for f in pipeline.failures] == [ZeroDivisionError]
        assert pipeline.stats() | {"errors": 1, "sinks_waiting": 0} == pipeline.stats()
    assert list(shop.rows) == [-10, 10]


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, RecursionError, FlowError])
def test_a_function_does_not_end_the_process(error):
    def ends(event):
        if event.id == 2:
            raise error("no more")
        return event.id

    found, flow = [], Flow("f")
    flow.events().map(ends).to(found)
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed(clicks([1, 2, 3]))
        assert pipeline.stats()["errors"] == 1
    assert found == [1, 3]


def test_no_snapshot_is_taken_in_the_middle_of_events():
    def stop(event):
        if event.id == 2:
            raise KeyboardInterrupt
        with pytest.raises(FlowError, match="being taken"):
            pipeline.snapshot()

    flow = Flow("f")
    flow.events().map(stop).to([])
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed(clicks([1]))
        assert not pipeline.failures
        pipeline.snapshot()
        with pytest.raises(KeyboardInterrupt):
            pipeline.feed([Click("p", 2, "u", 2)])
        with pytest.raises(FlowError, match="ended by KeyboardInterrupt"):
            pipeline.snapshot()


def test_what_a_function_feeds_is_taken_after_the_events_of_its_call():
    found = []

    def more(event):
        if event.id < 3:
            pipeline.feed([Click("p", event.time + 10, "u", event.id + 10)])
        return event.id

    def asks(event):
        if event.id == 1:
            pipeline.feed([Exposure("p", 3, "u", 99)])
        return event.id == 1

    flow = Flow("f")
    flow.events().map(more).to(found)
    flow.on(click(where=asks)).map(lambda m: -m.first.id).to(found)
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed(clicks([1, 2, 3]))
        assert [n for n in found if n > 0] == [1, 2, 3, 99, 11, 12]
        assert found.count(-1) == 1
        assert pipeline.stats()["received"] == 6


def test_a_condition_may_not_change_flows():
    flow = Flow("f")
    flow.on(click(where=lambda e: pipeline.remove("f"))).to([])
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed(clicks([1]))
        assert list(pipeline.flows) == ["f"]
        assert pipeline.stats()["failed"] == 1


def test_times_at_the_limits():
    century, end = 100 * 365 * 86_400_000, 1 << 53
    found, flow = [], Flow("f")
    flow.events().count(tumbling(1)).count(session(end)).map(lambda w: w.value).to(found)
    with Pipeline(flow, ahead_ms=None, lateness_ms=1 << 70) as pipeline:
        pipeline.feed([Click("p", t, "u", n) for n, t in enumerate((0, century, end), 1)])
        pipeline.advance(-(1 << 70))
        pipeline.advance(1 << 70)
        pipeline.finish()
    assert found == [3]
    for wrong in (
        lambda: tumbling(end + 1),
        lambda: hopping(end, 1),
        lambda: session(end + 1),
        lambda: Pipeline(lateness_ms=-1),
    ):
        with pytest.raises(FlowError):
            wrong()


def test_flows_that_cannot_work_are_refused():
    with pytest.raises(FlowError, match="flow name"):
        Flow("a/b")
    flow = Flow("f")
    with pytest.raises(FlowError, match="wanted a store"):
        flow.events().to(3)
    with pytest.raises(FlowError, match="belongs to the flow's beginning"):
        flow.events().map(str).side("late")
    with pytest.raises(FlowError, match="two flows"):
        flow.events().join(Flow("g").events(), 3)
    with pytest.raises(FlowError, match="begins nowhere"):
        Pipeline(Flow("empty"))
    flow.on(event("nothing"))
    with pytest.raises(FlowError, match="no kind of event"):
        Pipeline(flow)


def test_objects_that_are_no_proper_events_are_set_aside():
    class Other(Event, frozen=True, tag="other"):
        pass

    found = []
    flow = Flow("f")
    flow.events().map(lambda e: e.id).to(found)
    flow.on(click()).map(lambda m: m.key).to([])
    bad = [
        Other("p", 2), Click("p", -1), Click("p", 1 << 60), Click("p", 3, 7), Click("p", 3, "k", 1 << 70),
        Click("p", 3, "k", 0, -1), Click(None, 3), Click("p", "3"), Click("\ud800", 3), Click("p", 3, "k" * 2000), object(),
    ]  # fmt: skip
    with Pipeline(flow, ahead_ms=None, lateness_ms=5) as pipeline:
        pipeline.feed([Click("p", 1, "k", 1), *bad, Click("p", 3, "k", 3)])
        pipeline.finish()
        assert found == [1, 3]
        assert pipeline.stats()["malformed"] == len(bad)


def test_a_field_that_does_not_fit_its_type_comes_back_as_it_was():
    odd = Click("p", 2, "k", 2, widget="w" * 5000, item=7)
    found = []
    flow = Flow("f")
    flow.on(click().followed_by(exposure()).span()).map(lambda m: m.span).to(found)
    with Pipeline(flow, ahead_ms=None, lateness_ms=1) as pipeline:
        pipeline.feed([odd])
        state = pipeline.snapshot()
    with Pipeline(flow, ahead_ms=None, lateness_ms=1) as pipeline:
        pipeline.restore(state)
        pipeline.feed([Exposure("p", 3, "k", 3)])
        pipeline.finish()
    assert found[0][0] == odd


def test_a_result_that_raises_costs_its_window_only():
    found, failed = [], []
    flow = Flow("f")
    picky = Aggregate(lambda: 0, lambda state, _: state + 1, lambda state: 1 // (state - 1))
    stream = flow.events().window(tumbling(1000), picky)
    stream.map(lambda w: w.key).to(found)
    stream.side("errors").map(lambda f: f.key).to(failed)
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed([Click("p", 1, "a"), Click("p", 2, "b"), Click("p", 3, "b")])
        pipeline.advance(5000)
    assert (found, failed) == (["b"], ["a"])


def test_an_item_that_fails_in_many_windows_is_reported_once():
    failed, found = [], []
    flow = Flow("f")
    stream = flow.events().window(hopping(40, 10), sum_of(lambda e: 10 // (e.id - 2)))
    stream.map(lambda w: (w.start, w.value)).to(found)
    stream.side("errors").map(lambda f: f.value.id).to(failed)
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed([Click("p", 1, "u", 2), Click("p", 2, "u", 3), Click("p", 3, "u", 2)])
        pipeline.finish()
        assert pipeline.stats()["errors"] == 2
    assert failed == [2, 2]
    assert found == [(start, 10) for start in (-30, -20, -10, 0)]


def test_keys_and_marks_that_cannot_be_kept_cost_their_item_only():
    found = []
    flow = Flow("f")
    keyed = flow.events().key_by(lambda e: [e.id] if e.id == 2 else e.id)
    keyed.count(session(10)).map(lambda w: w.key).to(found)
    flow.events().dedupe(lambda e: [e.id] if e.id == 2 else e.id).map(lambda e: -e.id).to(found)
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed([Click("p", 1, "k", n) for n in (1, 2, 3)])
        pipeline.finish()
        assert sorted(found) == [-3, -1, 1, 3]
        assert pipeline.stats()["errors"] == 2


def test_a_function_that_hangs_outside_of_python_is_told_when_it_returns(run):
    found = []
    flow = Flow("f")
    flow.events("click").map(lambda e: e.id / 10).map(time.sleep).to(found)
    pipeline = run([Click("p", n, "u", n) for n in (0, 1, 3)], flow, batch=3, seconds=0.1)
    assert len(found) == 2
    assert isinstance(pipeline.failures[0].error, FunctionTimeoutError)


def test_a_function_may_change_flows(run):
    found = []
    first, second = Flow("first"), Flow("second")
    second.events().map(lambda e: e.id).to(found)

    def change(event):
        if event.id == 1:
            pipeline.add(second)
        if event.id == 3:
            pipeline.remove("first")
        return event

    first.events().map(change).to([])
    first.on(click()).map(lambda m: m).to([])
    with Pipeline(first, ahead_ms=None) as pipeline:
        for n in range(1, 6):
            pipeline.feed([Click("p", n, "u", n)])
    assert found[-3:] == [3, 4, 5]


def test_state_that_would_not_come_back_is_refused():
    flow = Flow("f")
    flow.events().window(tumbling(1000)).to([])
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed([Click("p", 1)])
        with pytest.raises(FlowError, match="Click cannot be kept in a snapshot; map it to plain values"):
            pipeline.snapshot()


def test_conditions_of_patterns_are_limited_too():
    def slow(event):
        while event.id == 2:
            pass
        return True

    found = []
    flow = Flow("f")
    flow.on(click(where=slow)).map(lambda m: m.first.id).to(found)
    with Pipeline(flow, ahead_ms=None, seconds=0.2) as pipeline:
        pipeline.feed(clicks([1, 2, 3]))
        assert found == [1, 3]
        assert pipeline.stats()["failed"] == 1
        ((event_, _, error),) = pipeline.trigger.engine.errors
        assert event_.id == 2
        assert isinstance(error, FunctionTimeoutError)
