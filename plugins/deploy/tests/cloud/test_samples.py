"""Samples that are none, or do not fit: set aside, counted, in nobody's way."""

import asyncio
import logging

import msgspec
import numpy as np
import pytest
from cloud_models import labels
from cloud_world import CONFIG, SIGNATURE, STREAM, fill, picture, running, sample, until
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.agent.delivery import STREAM as REPORTS
from walle_deploy.cloud.sample import Sample, Signature
from walle_deploy.cloud.service import CloudService
from walle_deploy.cloud.work import CloudTask, work
from walle_deploy.errors import TaskError
from walle_deploy.task.config import parse
from walle_deploy.task.packing import pack, unpack
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

from walle_core import Tensor

TASKS = {"digits": CloudTask("digits", STREAM, labels, SIGNATURE)}
BAD = [
    b"",
    b"\xff",
    b"\x81\xa4task",
    pack([1, 2]),
    pack({}),
    b"\x91" * 5000,
    msgspec.msgpack.encode({"task": msgspec.msgpack.Ext(9, b"x")}),
    msgspec.msgpack.encode(
        {"task": msgspec.msgpack.Ext(1, msgspec.msgpack.encode(["float32", [1 << 40], b""]))}
    ),
    sample(1, task="../x"),
    sample(1, task=5),
    sample(1, version="3"),
    sample(1, version="v0"),
    sample(1, run="a\0b"),
    sample(1, run="r" * 300),
    sample(1, run=None),
    sample(1, time="now"),
    sample(1, time=True),
    sample(1, time=1 << 63),
    sample(1, inputs=[]),
    sample(1, inputs={1: 2}),
    sample(1, outputs=[]),
    sample(1, inputs={}),
    sample(1, inputs={"x": picture(1), "y": 1}),
    sample(1, inputs={"x": picture(1)[:63]}),
    sample(1, inputs={"x": picture(1).astype("float64")}),
    sample(1, inputs={"x": picture(1).reshape(1, 64)}),
    sample(1, inputs={"x": "text"}),
    sample(1, inputs={"x": None}),
    sample(1, inputs={"x": [[1.0], [2.0, 3.0]]}),
    sample(1, task="other"),
]


@pytest.mark.parametrize("payload", BAD)
def test_bad_sample_has_a_reason_and_keeps_nobody_back(payload):
    good, bad, again = work(TASKS, [sample(3), payload, sample(4)])
    assert not bad.ok
    assert bad.why
    assert bad.why.isprintable()
    assert (unpack(good.answer), unpack(again.answer)) == ({"label": 3}, {"label": 4})


def test_lists_are_tensors_where_those_are_declared():
    (found,) = work(TASKS, [sample(6, inputs={"x": picture(6).tolist()})])
    assert unpack(found.answer) == {"label": 6}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data):
    (found,) = work(TASKS, [data])
    assert found.why or found.ok


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("task", "version", "run", "time", "inputs", "outputs"), plain)
    )
)
def test_any_table(fields):
    (found,) = work(TASKS, [sample(1, **fields)])
    assert found.why or found.ok


def test_signatures():
    toml = """
[task]
name = "t"
[trigger]
manual = true
[inputs]
a = { dtype = "float32", shape = ["n", 2] }
b = { dtype = "int64", shape = ["n"] }
j = { dtype = "json" }
[outputs]
[features]
n = "int"
f = "float"
on = "bool"
[cloud]
stream = "s"
send = ["a", "b", "j", "features"]
"""
    signature = Signature.of(parse(toml))
    features = {"n": 1, "f": 2, "on": True}
    good = {"a": np.zeros((3, 2), "float32"), "b": np.zeros(3, "int64"), "j": {"x": 1}, "features": features}
    good = unpack(pack(good))
    assert signature.ready(good).keys() == good.keys()
    for name, value in (
        ("b", Tensor.of(np.zeros(4, "int64"))),
        ("features", None),
        ("features", {"n": 1, "f": 2}),
        ("features", {**features, "n": True}),
        ("features", {**features, "on": 1}),
        ("features", {**features, "f": "x"}),
        ("features", {**features, "more": 1}),
    ):
        with pytest.raises(TaskError):
            signature.ready({**good, name: value})
    with pytest.raises(TaskError, match=r"no \[cloud\]"):
        Signature.of(parse('[task]\nname = "t"\n[trigger]\nmanual = true\n'))
    events = Signature({"e": CONFIG.inputs["x"].__class__("events")})
    assert events.ready({"e": [{}]})
    with pytest.raises(TaskError, match="events"):
        events.ready({"e": [1]})


def test_sample_reads_what_it_is():
    found = Sample.read(sample(2, 9))
    assert (found.run, found.time) == ("digits/9", 1_780_000_000_009)


def test_the_service_sets_them_aside_and_goes_on(tmp_path, store, caplog):
    path = tmp_path / "sink.db"
    fill(path, *(payload for bad in BAD for payload in (bad, sample(5))))
    fill(path, b"no report", msgspec.msgpack.encode([[1, "digits", "v\0", False]]), stream=REPORTS)
    service = CloudService(SqliteSink(path), [*TASKS.values()], store, batch=7)
    with caplog.at_level(logging.CRITICAL), running(service):
        until(lambda: store.positions(STREAM) == {"d1": 2 * len(BAD)})
        until(lambda: store.positions(REPORTS) == {"d1": 2})
    answers = store.answers()
    assert [a.ok for a in answers] == [False, True] * len(BAD)
    rows = service.costs()
    assert sum(row.samples for row in rows) == 2 * len(BAD)
    assert sum(row.aside for row in rows) == len(BAD)
    assert {row.task for row in rows} <= {"", "digits", "other"}
    assert sum(row.runs for row in rows) == 0


def test_a_sink_that_cannot_be_followed(store):
    class Other:
        name = "other"

        async def open(self):
            pass

        async def close(self):
            pass

    service = CloudService(Other(), [*TASKS.values()], store)

    async def main():
        async with service:
            await asyncio.to_thread(until, lambda: service.problem)
            return service.problem

    assert "cannot be followed" in asyncio.run(main())
