"""Flows end to end: operators, event time, side outputs, quarantine, live change, snapshots."""

import threading
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_flows import clicks, everything, lists
from walle_pipeline import (
    Batch,
    Click,
    Event,
    Exposure,
    Flow,
    Operator,
    PageEnter,
    PageExit,
    Pipeline,
    Schema,
    StreamOperator,
    Window,
    click,
    count,
    distinct,
    exposure,
    hopping,
    mean,
    page_enter,
    page_visit,
    quantiles,
    session,
    several,
    sum_of,
    top_k,
    tumbling,
)
from walle_pipeline.aggregates import collect, reduce
from walle_pipeline.errors import EventError, FlowError
from walle_pipeline.kept import again, plain
from walle_pipeline.operators.joins import Join

from walle_core import plugins


def windows(found):
    return [(w.key, w.start, w.end, w.value) for w in found]


def test_a_chain_of_steps(run):
    found = []
    flow = Flow("f")
    flow.events("click").filter(lambda e: e.id % 2).map(lambda e: e.id).flat_map(lambda i: [i, -i]).to(found)
    run([*clicks([1, 2, 3]), Exposure("p", 4)], flow)
    assert found == [1, -1, 3, -3]


def test_tumbling_hopping_and_session_windows(run):
    found = [[], [], []]
    flow = Flow("f")
    source = flow.events("click")
    for out, shape in zip(found, (tumbling(10), hopping(20, 10), session(10)), strict=True):
        source.count(shape).to(out)
    run(clicks([1, 5, 12, 35]), flow)
    assert windows(found[0]) == [("u", 0, 10, 2), ("u", 10, 20, 1), ("u", 30, 40, 1)]
    assert windows(found[1]) == [
        ("u", -10, 10, 2), ("u", 0, 20, 3), ("u", 10, 30, 1), ("u", 20, 40, 1), ("u", 30, 50, 1),
    ]  # fmt: skip
    assert windows(found[2]) == [("u", 1, 22, 3), ("u", 35, 45, 1)]


def test_aggregates(run):
    found = []
    flow = Flow("f")
    every = several(
        n=count(), sum=sum_of(lambda e: e.contents["n"]), mean=mean(lambda e: e.contents["n"]),
        top=top_k(2, lambda e: e.page), pages=distinct(lambda e: e.page), p=quantiles(0, 0.5, 1, value=lambda e: e.contents["n"]),
        most=reduce(lambda a, e: max(a, e.contents["n"]), 0), all=collect(2, lambda e: e.id),
    )  # fmt: skip
    flow.events("click").window(tumbling(1000), every).to(found)
    run([Click("ab"[i % 3 == 0], i, "u", i, contents={"n": i}) for i in range(100)], flow)
    value = found[0].value
    assert (value["n"], value["sum"], value["mean"], value["pages"], value["most"]) == (
        100,
        4950,
        49.5,
        2,
        99,
    )
    assert value["top"] == [["a", 66], ["b", 34]]
    assert value["all"] == [0, 1]
    assert value["p"][0] == 0
    assert value["p"][1] == pytest.approx(49, rel=0.03)
    assert value["p"][2] == pytest.approx(99, rel=0.01)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.floats(0, 1))
def test_quantiles_are_within_their_error(values, q):
    sketch = quantiles(q)
    state = sketch.start()
    for value in values:
        state = sketch.add(state, value)
    exact = sorted(values)[int(q * (len(values) - 1))]
    assert sketch.result(state)[0] == pytest.approx(exact, rel=0.0101, abs=1e-11)


@given(st.lists(st.integers(0, 30), max_size=300))
def test_top_k_is_exact_while_it_fits(values):
    aggregate = top_k(3, capacity=31)
    state = aggregate.start()
    for value in values:
        state = aggregate.add(state, value)
    counts = sorted(({v: values.count(v) for v in dict.fromkeys(values)}).values(), reverse=True)
    assert [n for _, n in aggregate.result(state)] == counts[:3]


def test_joins(run):
    found, enriched, inner = [], [], []
    flow = Flow("f")
    seen, clicked = flow.events("exposure"), flow.events("click")
    seen.join(clicked, 10).map(lambda pair: (pair[0].id, pair[1].id)).to(found)
    clicked.join_table({"u": "gold"}).map(lambda pair: pair[1]).to(enriched)
    clicked.join_table({"u": "gold"}, inner=True).map(lambda pair: pair[1]).to(inner)
    run(
        [
            Exposure("p", 0, "u", 1), Click("p", 5, "u", 2), Click("p", 5, "v", 3), Exposure("p", 9, "u", 4),
            Click("p", 19, "u", 5), Click("p", 20, "u", 6),
        ],
        flow,
    )  # fmt: skip
    assert found == [(1, 2), (4, 2), (4, 5)]
    assert enriched == ["gold", None, "gold", "gold"]
    assert inner == ["gold"] * 3


def test_a_join_keeps_no_more_than_its_limit():
    found = []
    join = Join(1 << 40, limit=3)
    for n in range(1000):
        join.process(Batch([n], [n], ["u"]), 0)
        join.advance(n + 1)
    assert len(plain(join.snapshot())[2][0][0]) == 3
    assert sum(map(len, join.kept[0].values())) + sum(map(len, join.coming)) == 3
    join.process(Batch(["late"], [1000], ["u"]), 1)
    found += join.advance(1001).values
    assert found == [(997, "late"), (998, "late"), (999, "late")]
    assert join.cut == 997
    assert join.advance(join.deadline - 1) is None
    join.advance(1 << 50)
    assert (join.deadline, *join.kept) == (None, {}, {})


def test_a_join_forgets_keys_that_are_silent():
    join = Join(10)
    for n in range(1000):
        join.process(Batch([n], [n], [f"k{n}"]), n % 2)
        join.advance(n)
    assert sum(map(len, join.kept)) <= 12


def test_dedupe_and_sample(run):
    once, some = [], []
    flow = Flow("f")
    flow.events("click").dedupe(lambda e: e.page, keep_ms=10).map(lambda e: e.time).to(once)
    flow.events("click").sample(0.25).map(lambda e: e.key).to(some)
    times = [0, 5, 9, 10, 12, 20]
    run(
        [
            *clicks(times),
            *[Click("p", 30, f"user {i}") for i in range(4000)],
            *[Click("p", 40, f"user {i}") for i in range(4000)],
        ],
        flow,
    )
    assert once[:3] == [0, 10, 20]
    users = [key for key in some if key != "u"]
    assert 1600 < len(users) < 2400
    assert all(users.count(key) == 2 for key in set(users)), "all items of a key, or none"


def test_late_future_malformed_and_duplicate_events_are_counted_and_kept(run):
    found, late = [], []
    flow = Flow("f")
    stream = flow.events()
    stream.map(lambda e: e.id).to(found)
    stream.side("late").map(lambda e: e.id).to(late)
    with Pipeline(flow, clock=lambda: 1000, ahead_ms=100, dedupe_ms=500) as pipeline:
        pipeline.feed(
            [
                Click("p", 900, "u", 1),
                Click("p", 1101, "u", 2),
                Click("p", 899, "u", 3),
                Click("p", 900, "u", 1),
            ]
        )
        good = pipeline.schema.encode(Click("p", 950, "u", 4))
        pipeline.feed_encoded(b"\x93" + good + b"\x81\xa4kind\xa5click" + b"\xc1"[:0] + good)
        pipeline.feed_encoded(b"not msgpack")
        pipeline.finish()
        assert found == [1, 4]
        assert late == [3]
        stats = pipeline.stats()
        assert {k: stats[k] for k in ("late", "future", "malformed", "duplicates")} == {
            "late": 1, "future": 1, "malformed": 2, "duplicates": 2,
        }  # fmt: skip
        assert [e.id for e in pipeline.refused["future"]] == [2]


FLOW_EVENTS = st.lists(
    st.tuples(
        st.integers(0, 60), st.sampled_from("uv"), st.sampled_from([Click, Exposure, PageEnter, PageExit])
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(FLOW_EVENTS, st.randoms(), st.integers(0, 20), st.integers(1, 8))
def test_any_arrival_order_within_the_lateness_gives_the_same_output(drawn, rng, lateness, size):
    events = [kind("p", time, key, number) for number, (time, key, kind) in enumerate(drawn, 1)]
    inorder = sorted(events, key=lambda e: (e.time, e.key, e.id))
    delayed = sorted(inorder, key=lambda e: e.time + rng.uniform(0, lateness))
    outputs = []
    for given_events, batch in ((inorder, 1), (delayed, size), (inorder, max(1, len(events)))):
        found = lists()
        with Pipeline(everything(found), lateness_ms=lateness, ahead_ms=None) as pipeline:
            for first in range(0, len(given_events), batch):
                pipeline.feed(given_events[first : first + batch])
            pipeline.finish()
            assert pipeline.stats()["late"] == 0
        outputs.append(found)
    assert outputs[0] == outputs[1]
    assert outputs[0] == outputs[2]


@settings(max_examples=100, deadline=None)
@given(FLOW_EVENTS, st.integers(0, 10))
def test_no_event_vanishes(drawn, lateness):
    found = []
    flow = Flow("f")
    flow.events().map(lambda e: e.id).to(found)
    with Pipeline(flow, lateness_ms=lateness, ahead_ms=None) as pipeline:
        events = [kind("p", time, key, number) for number, (time, key, kind) in enumerate(drawn, 1)]
        for event in events:
            pipeline.feed([event])
        pipeline.finish()
        late = [e.id for e in pipeline.refused["late"]]
    assert sorted(found + late) == [e.id for e in events]


@settings(max_examples=150, deadline=None)
@given(FLOW_EVENTS, st.integers(0, 25), st.integers(0, 10))
def test_a_restored_pipeline_goes_on_as_if_it_had_not_stopped(drawn, cut, lateness):
    events = sorted(
        (kind("p", time, key, number) for number, (time, key, kind) in enumerate(drawn, 1)),
        key=lambda e: e.time,
    )
    whole, halves = lists(), lists()
    with Pipeline(everything(whole), lateness_ms=lateness, ahead_ms=None, dedupe_ms=100) as pipeline:
        for event in events:
            pipeline.feed([event])
        pipeline.finish()
    with Pipeline(plainly(halves), lateness_ms=lateness, ahead_ms=None, dedupe_ms=100) as first:
        first.feed(events[:cut])
        state = first.snapshot()
    with Pipeline(plainly(halves), lateness_ms=lateness, ahead_ms=None, dedupe_ms=100) as second:
        second.restore(state)
        second.feed(events[: cut // 2])  # repeated: known by their ids
        second.feed(events[cut:])
        second.finish()
    whole["join"] = [tuple(p) for p in whole["join"]]
    halves["join"] = [tuple(p) for p in halves["join"]]
    assert halves == whole


def plainly(found):
    """As `everything`, with values that a snapshot can hold in windows and joins."""
    flow = Flow("f")
    source = flow.events()
    source.count(tumbling(7)).to(found["tumbling"])
    ids = source.map(lambda e: e.id)
    ids.window(hopping(9, 3), collect()).to(found["hopping"])
    ids.window(session(4), collect()).to(found["session"])
    left, right = flow.events("click").map(lambda e: e.id), flow.events("exposure").map(lambda e: e.id)
    left.join(right, 5).to(found["join"])
    source.dedupe(lambda e: e.kind, keep_ms=6).map(lambda e: e.id).to(found["dedupe"])
    matched = flow.on(page_enter().followed_by(click().repeat(1, 2)).not_before(exposure()).within(0.02))
    matched.map(lambda m: [e.id for e in m.events]).to(found["match"])
    return flow


def test_nothing_runs_while_nothing_happens(run):
    flow = Flow("f")
    flow.events("click").map(lambda e: e.id).to([])
    before = threading.active_count()
    with Pipeline(flow, ahead_ms=None) as pipeline:
        assert threading.active_count() == before
        pipeline.feed(clicks([1]))
        assert pipeline.deadline is None
        time.sleep(1.5)
        used = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - used < 0.01
        pipeline.feed(clicks([2]))  # the thread that sleeps wakes again
    assert threading.active_count() == before


def test_flows_change_while_events_flow():
    one, two, other = [], [], []
    first, second, keeps = Flow("f"), Flow("f"), Flow("g")
    first.on(page_visit("p")).map(lambda m: 1).to(one)
    second.on(page_visit("p")).map(lambda m: 2).to(two)
    keeps.on(page_visit("p")).map(lambda m: 3).to(other)
    with Pipeline(first, keeps, ahead_ms=None) as pipeline:
        pipeline.feed([PageEnter("p", 1)])
        pipeline.replace(second)
        pipeline.feed([PageExit("p", 2), PageEnter("p", 3), PageExit("p", 4)])
        pipeline.remove("f")
        pipeline.feed([PageEnter("p", 5), PageExit("p", 6)])
        assert (one, two, other) == ([], [2], [3, 3, 3])
        with pytest.raises(FlowError, match="no flow 'f' runs"):
            pipeline.remove("f")
        with pytest.raises(FlowError, match="runs already"):
            pipeline.add(keeps)


def test_timeouts_reach_the_flow():
    gone = []
    flow = Flow("f")
    flow.on(page_enter("p").followed_by(click("p")).within(1).timeouts()).side("timeouts").map(
        lambda m: m.first.id
    ).to(gone)
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed([PageEnter("p", 1, "u", 7)])
        assert pipeline.deadline == 1001
        pipeline.advance(1001)
        assert gone == [7]
        assert pipeline.deadline is None


class Doubled(Operator):
    """A plugin's operator."""

    def __init__(self, times=2):
        self.times = times

    def process(self, batch, port=0):
        return Batch(batch.values * self.times, batch.times * self.times, batch.keys * self.times)


def test_a_plugin_offers_an_operator(run, monkeypatch):
    registry = plugins.load_plugins().stream_operators.copy("test")
    registry.add(StreamOperator("doubled", f"{__name__}:Doubled"))
    monkeypatch.setattr(plugins.load_plugins(), "stream_operators", registry)
    monkeypatch.setitem(
        __import__("sys").modules, __name__, __import__("types").SimpleNamespace(Doubled=Doubled)
    )
    found = []
    flow = Flow("f")
    flow.events("click").doubled(times=3).map(lambda e: e.id).to(found)
    run(clicks([1]), flow)
    assert found == [1, 1, 1]
    with pytest.raises(AttributeError, match="walle plugins"):
        flow.events().unheard_of()


class AddToCart(Event, frozen=True, tag="add_to_cart"):
    """A kind that an application adds."""

    item: str = ""
    price: float = 0.0


def test_typed_events():
    schema = Schema.BASIC.with_kinds(AddToCart)
    added = AddToCart("p", 5, "u", 1, item="x", price=2.5)
    for encoding in ("json", "msgpack"):
        assert schema.decode(schema.encode(added, encoding), encoding) == added
    for bad, text in (
        (
            b'{"kind":"add_to_cart","page":"p","time":5,"price":"much"}',
            "Expected `float`, got `str` - at `\\$.price`",
        ),
        (b'{"kind":"add_to_cart","page":"p","time":-5}', "`int` >= 0"),
        (b'{"kind":"unheard","page":"p","time":5}', "known kinds: page_enter"),
        (b"{", "truncated"),
        (b'{"kind":"click","page":"' + b"x" * 70_000 + b'","time":5}', "at most 65536"),
        (b"[" * 60_000, "malformed"),
    ):
        with pytest.raises(EventError, match=text):
            schema.decode(bad, "json")
    with pytest.raises(EventError, match="two kinds"):
        schema.with_kinds(AddToCart)
    with pytest.raises(EventError, match="needs a tag"):
        Schema(type("Bare", (Event,), {}, frozen=True, tag=5))


def test_windows_are_values():
    assert Window("u", 0, 10, 3) == Window("u", 0, 10, 3)


def test_timeouts_come_in_order_of_time_however_events_are_cut():
    outputs = []
    for size in (1, 100):
        gone = []
        flow = Flow("f")
        pattern = page_enter("p").followed_by(click("p"))
        stream = flow.on(pattern.within(3).timeouts(), pattern.within(1).timeouts()).side("timeouts")
        stream.map(lambda m: (m.key, m.time)).to(gone)
        stream.key_by(lambda m: 0).count(session(2600)).map(lambda w: (w.start, w.end, w.value)).to(gone)
        events = [PageEnter("p", 500 * n, f"k{n % 3}", n) for n in range(20)]
        with Pipeline(flow, ahead_ms=None) as pipeline:
            for first in range(0, len(events), size):
                pipeline.feed(events[first : first + size])
            pipeline.advance(60_000)
        outputs.append(gone)
    assert outputs[0] == outputs[1]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers(0, 99) | st.text(), inner)
        ),
    )
)
def test_state_comes_back_as_it_was(value):
    assert again(msgspec.msgpack.decode(msgspec.msgpack.encode(plain(value)), strict=False)) == value


def test_counters_for_prometheus():
    prometheus = pytest.importorskip("prometheus_client")
    from walle_pipeline.metrics import PipelineCollector

    registry = prometheus.CollectorRegistry()
    with Pipeline(ahead_ms=None) as pipeline:
        registry.register(PipelineCollector(pipeline, "phone"))
        pipeline.feed(clicks([1, 2]))
        text = prometheus.generate_latest(registry).decode()
    assert 'walle_pipeline_received_total{pipeline="phone"} 2.0' in text
    assert 'walle_pipeline_partials{pipeline="phone"} 0.0' in text
