"""Recorded events as operators get them: files, folders of devices and agents, JSON lines; damaged ones too."""

import os
import shutil
import sys
import types

import msgspec
import pytest
from simulate_world import task
from walle_deploy.simulate import SimulationError, simulate
from walle_deploy.simulate.matches import Replay, kinds_of
from walle_deploy.simulate.recorded import Damages, batches, grouped, logs_in, schema_named, schema_of
from walle_deploy.task.config import parse
from walle_deploy.task.trigger import compile_trigger
from walle_pipeline import Device, Event, Flow, Pipeline, Schema
from walle_pipeline.demo.sessions import sessions
from walle_pipeline.log import EventLog
from walle_pipeline.pattern import page_visit

posix = pytest.mark.skipif(
    os.name != "posix", reason="tasks run in processes of their own, which needs POSIX"
)


class AddToCart(Event, frozen=True, tag="add_to_cart"):
    """A kind of an application."""

    sku: str = ""


class Swipe(Event, frozen=True, tag="swipe"):
    """Another one, without fields of its own."""


SCHEMA = Schema.BASIC.with_kinds(AddToCart, Swipe)


def events_of(log, schema=Schema.BASIC):
    damages = Damages()
    return [
        event for batch in batches(log, schema, damages) if isinstance(batch, list) for event in batch
    ], damages


def matches_of(log, patterns, schema=Schema.BASIC):
    return [(m.key, m.start, m.time, m.position) for m in Replay("visits", patterns, log, schema, Damages())]


def test_logs_are_found_in_files_and_folders(tmp_path):
    for name in ("b.events", "a.jsonl", "c.txt", "below/d.ndjson", f"agent/pipeline/{0:020}.events"):
        path = tmp_path / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    one = tmp_path / "one.events"
    one.write_bytes(b"yy")
    found = logs_in([tmp_path / "logs", one, str(one)])
    assert [(log.name, log.size) for log in found] == [
        ("logs/a.jsonl", 1), ("logs/agent/pipeline", 1), ("logs/b.events", 1), ("logs/below/d.ndjson", 1),
        ("one.events", 2), ("one.events (2)", 2),
    ]  # fmt: skip


def test_small_logs_are_grouped(folder):
    logs = logs_in([folder])
    assert [len(group) for group in grouped(logs, 1)] == [1, 1, 1, 1]
    assert [len(group) for group in grouped(logs, logs[0].size + 1)] == [2, 2]
    assert [len(group) for group in grouped(logs, 1 << 40)] == [4]
    assert grouped([], 1) == []


def test_a_copy_of_a_devices_folder_has_the_matches_that_the_device_had(tmp_path):
    """Also where the device was told the time, and where its folder was copied while it ran."""
    had = []
    flow = Flow("visits")
    flow.on(page_visit("item").within(minutes=1)).to(had)
    events = list(sessions(seed=3, users=5, visits=60))
    with Device(tmp_path / "device", flow, snapshot_every=400, keep_segments=99, ahead_ms=None) as device:
        for first in range(0, len(events), 50):
            device.feed(events[first : first + 50])
            device.advance(events[min(first + 49, len(events) - 1)].time)
        device.finish()
        shutil.copytree(tmp_path / "device", tmp_path / "copy")
    (log,) = logs_in([tmp_path / "copy"])
    assert len(log.paths) > 1
    assert matches_of(log, [page_visit("item").within(minutes=1)]) == [
        (m.key, m.start, m.time, m.position) for m in had
    ]
    assert had


def test_json_lines_are_the_same_as_a_packed_log(log, tmp_path):
    (packed,) = logs_in([log])
    events, _ = events_of(packed)
    lines = tmp_path / "monday.jsonl"
    lines.write_bytes(b"\n".join(Schema.BASIC.encode(event, "json") for event in events))
    (plain,) = logs_in([lines])
    assert events_of(plain)[0] == events
    patterns = compile_trigger(parse(task()["walle.toml"]).trigger)
    assert matches_of(plain, patterns) == matches_of(packed, patterns)


@posix
def test_damage_costs_its_block_only(log, tmp_path):
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    broken = tmp_path / "broken.events"
    broken.write_bytes(data)
    found = simulate(task(), [broken])
    assert found.passed
    assert 100 <= found.new.runs < 120
    assert found.part.damages == 1
    assert "checksum does not fit" in str(found)


@posix
def test_a_log_that_is_none_is_told(log, tmp_path):
    none = tmp_path / "none.events"
    none.write_bytes(b"hello\n" * 50)
    (tmp_path / "bad.jsonl").write_bytes(b'{"kind":"click"}\n[]\n\xff\n' + b"x" * 70_000 + b"\n\n")
    found = simulate(task(), [tmp_path])
    assert found.verdict == "no data"
    assert "could not be read" in found.why
    assert found.part.damages == 54
    assert len(found.part.told) == 10
    assert simulate(task(), [tmp_path, log]).passed


def test_a_log_that_goes_away_is_told(log, tmp_path):
    copy = tmp_path / "a.events"
    shutil.copy(log, copy)
    (found,) = logs_in([copy])
    copy.unlink()
    assert schema_of(found, Schema.BASIC, []).kinds.keys() == Schema.BASIC.kinds.keys()
    events, damages = events_of(found)
    assert (events, damages.count) == ([], 1)


def test_kinds_of_an_application_need_its_schema_only_if_they_have_fields(tmp_path):
    for name, events in (
        ("bare", [Swipe("item", 1, "a", contents={"sku": "x"}), AddToCart("item", 1, "a")]),
        ("full", [AddToCart("item", 1, "a", sku="x")]),
    ):
        with EventLog(tmp_path / f"{name}.events", SCHEMA) as log:
            log.append(events)
    bare, full = logs_in([tmp_path])
    made = schema_of(bare, Schema.BASIC, [])
    (event, empty), damages = events_of(bare, made)
    assert (event.kind, event.contents, damages.count) == ("swipe", {"sku": "x"}, 0)
    assert empty.kind == "add_to_cart"
    events, damages = events_of(full, schema_of(full, Schema.BASIC, []))
    assert events == []
    assert "give the schema" in damages.texts[0]
    assert events_of(full, schema_of(full, SCHEMA, []))[0] == [AddToCart("item", 1, "a", sku="x")]


def test_kinds_that_only_the_trigger_or_json_names_are_there(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(msgspec.json.encode({"kind": "swipe", "page": "item", "time": 1, "key": "a"}))
    (log,) = logs_in([path])
    patterns = compile_trigger(
        parse(task()["walle.toml"].replace(b'page_visit = "item"', b'steps = [{kind = "buy"}]')).trigger
    )
    assert kinds_of(patterns) == {"buy"}
    made = schema_of(log, Schema.BASIC, kinds_of(patterns))
    assert {"swipe", "buy"} < made.kinds.keys()
    assert events_of(log, made)[0][0].kind == "swipe"
    assert matches_of(log, patterns, made) == []


def test_a_pipeline_that_was_fed_otherwise_has_the_same_matches(log):
    (found,) = logs_in([log])
    events, _ = events_of(found)
    had = []
    flow = Flow("visits")
    flow.on(page_visit("item")).to(had)
    with Pipeline(flow, ahead_ms=None) as pipeline:
        for event in events:
            pipeline.feed([event])
        pipeline.finish()
    assert matches_of(found, [page_visit("item")]) == [(m.key, m.start, m.time, m.position) for m in had]


def test_a_schema_may_be_named(monkeypatch):
    module = types.ModuleType("an_application")
    module.SCHEMA, module.NONE = SCHEMA, 3
    monkeypatch.setitem(sys.modules, "an_application", module)
    assert schema_named("an_application:SCHEMA") is SCHEMA
    assert schema_named(None) is Schema.BASIC
    for name in ("an_application:NONE", "an_application:OTHER", "nowhere:SCHEMA", "an_application"):
        with pytest.raises(SimulationError, match="schema"):
            schema_named(name)
