"""The data pipeline in numbers, on one core unless said; prints a table and writes it into docs/benchmarks.md.

make bench-pipeline                              # this and benchmarks/pipeline_tunnel.py, with bytewax beside it
python benchmarks/pipeline.py [--only trigger,path,...] [--bytewax PYTHON] [--markdown docs/benchmarks.md]
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import gc
import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
from report import machine, write_section
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
    Scroll,
    Trigger,
    click,
    count,
    event,
    page_exit,
    page_visit,
    sum_of,
    tumbling,
)
from walle_pipeline._packing import Packer
from walle_pipeline.guard import resident
from walle_pipeline.store.collective import CollectiveStore
from walle_pipeline.store.sqlite import SqliteEngine

KINDS = [PageEnter, PageExit, Scroll, Exposure, Click]
START = 1_780_000_000_000
Row = tuple[str, str, str]


def stream(number: int, pages: int, keys: int, seed: int = 1) -> Iterator[Event]:
    """Events of random kind, page and key, on average 10 ms apart."""
    rng, now = random.Random(seed), START
    for index in range(number):
        now += rng.randint(0, 20)
        yield rng.choice(KINDS)(f"page{rng.randrange(pages)}", now, f"u{rng.randrange(keys)}", index + 1)


def _triggers(patterns: int, pages: int, seed: int = 1) -> Trigger:
    rng, trigger = random.Random(seed), Trigger()
    names = [f"page{n}" for n in range(pages)]
    for number in range(patterns):
        made = event(rng.choice(KINDS), rng.choice(names))
        for _ in range(rng.randint(1, 3)):
            made = made.followed_by(event(rng.choice(KINDS), rng.choice(names)))
        trigger.add(f"t{number}", made.within(60))
    return trigger


def trigger() -> Iterator[Row]:
    """Patterns of 2 to 4 steps, skip till next, within 60 s, three per page; 100 keys. Rounds are interleaved."""
    cases, speeds = {}, {}
    for patterns in (300, 10_000):
        pages = patterns // 3
        blocks = []
        source = stream(800_000, pages, 100)
        while some := list(itertools.islice(source, 40_000)):
            packer = Packer(Schema.BASIC)
            for one in some:
                packer.add(one)
            blocks.append((packer.rows_bytes, packer.page_names, packer.key_names, some[-1].time, some))
        cases[patterns] = _triggers(patterns, pages), _triggers(patterns, pages), blocks
    for form in ("packed", "objects"):
        times: dict[int, list[float]] = {patterns: [] for patterns in cases}
        for index in range(20):
            for patterns, (packed, objects, blocks) in cases.items():
                rows, pages_, keys, now, events = blocks[index]
                begin = time.perf_counter()
                if form == "packed":
                    packed.engine.feed_packed(rows, list(range(5)), pages_, keys)
                    packed.expire(now)
                else:
                    objects.feed(events)
                    objects.expire(now)
                times[patterns].append((time.perf_counter() - begin) / 40_000)
        speeds[form] = {patterns: statistics.median(t) for patterns, t in times.items()}
        ratio = speeds[form][10_000] / speeds[form][300]
        what = "packed rows" if form == "packed" else "Event objects"
        target = ("≥ 4 M events/s", "≤ 1.5 ×") if form == "packed" else ("", "")
        yield f"trigger, 300 patterns, {what}", f"{1e-6 / speeds[form][300]:.1f} M events/s", target[0]
        yield f"trigger, 10,000 patterns over 300, {what}", f"{ratio:.2f} × the time", target[1]
    same = _triggers(10_000, 100)
    begin = time.perf_counter()
    matches = sum(len(same.feed(block[4]).matches) for block in cases[300][2][:5])
    taken = time.perf_counter() - begin
    yield (
        "trigger, 10,000 patterns on the pages of 300",
        f"{0.2 / taken:.2f} M events/s, {matches / 200_000:.2f} matches per event",
        "",
    )
    add = Trigger()
    for number in range(10_000):
        add.add(
            f"t{number}", event(KINDS[number % 5], f"page{number}").followed_by(click(f"page{number + 1}"))
        )
    add.feed(list(itertools.islice(stream(1000, 3000, 10), 1000)))
    begin = time.perf_counter()
    add.replace("t5000", click("page1").followed_by(page_exit("page2")))
    add.feed([Click("page1", START + 10**6, "u1", 1)])
    yield (
        "replace one of 10,000 patterns and feed an event",
        f"{(time.perf_counter() - begin) * 1e3:.2f} ms",
        "≤ 10 ms",
    )


def path() -> Iterator[Row]:
    """MessagePack in; trigger with 10 patterns; KeyBy, Filter, Map, tumbling window of 1,000 keys; SQLite out."""
    rng = random.Random(2)
    events = [
        msgspec.structs.replace(e, contents={"n": rng.randrange(100)})
        for e in stream(300_000, 100, 1000, seed=2)
    ]
    encode = msgspec.msgpack.Encoder().encode
    blocks = [encode(events[first : first + 1000]) for first in range(0, len(events), 1000)]
    speeds, rows = [], 0
    for _ in range(5):
        with (
            tempfile.TemporaryDirectory() as folder,
            CollectiveStore(SqliteEngine(Path(folder) / "d.db")) as store,
        ):
            windows, found = Flow("windows"), Flow("matches")
            keyed = windows.events().key_by(lambda e: e.key).filter(lambda e: e.contents["n"] < 90)
            keyed.map(lambda e: e.contents["n"]).window(tumbling(60_000), sum_of()).map(lambda w: w.value).to(
                store
            )
            patterns = [
                click(f"page{n}").followed_by(page_exit(f"page{n + 1}")).within(60) for n in range(10)
            ]
            found.on(*patterns).map(lambda m: m.start).to(store)
            with Pipeline(windows, found, ahead_ms=None) as pipeline:
                begin = time.perf_counter()
                for block in blocks:
                    pipeline.feed_encoded(block)
                pipeline.finish()
                store.flush()
                speeds.append(len(events) / (time.perf_counter() - begin))
            rows = store.stats.rows
    yield (
        "decode, trigger, KeyBy, Filter, Map, window, SQLite",
        f"{statistics.median(speeds) / 1e3:.0f} k events/s ({rows:,} rows)",
        "≥ 200 k events/s",
    )


def store() -> Iterator[Row]:
    """Rows of 64 bytes into SQLite through the collective store; keys in order, and in none."""
    rng, number = random.Random(4), 200_000
    keys = {
        "keys in order": [b"%016d" % n for n in range(number)],
        "keys in no order": [rng.randbytes(16) for _ in range(number)],
    }
    for order, size, goal in (
        ("keys in order", 200, "≥ 300 k rows/s"),
        ("keys in no order", 200, ""),
        ("keys in no order", 10_000, ""),
    ):
        rows = [(key, b"v" * 64, START + n) for n, key in enumerate(keys[order])]
        speeds = []
        for _ in range(5):
            with (
                tempfile.TemporaryDirectory() as folder,
                CollectiveStore(SqliteEngine(Path(folder) / "d.db"), flush_count=size) as kept,
            ):
                begin = time.perf_counter()
                for first in range(0, number, 200):
                    kept.put_many("t", rows[first : first + 200])
                kept.flush()
                speeds.append(number / (time.perf_counter() - begin))
        yield (
            f"SQLite, {order}, {size:,} rows per transaction",
            f"{statistics.median(speeds) / 1e3:.0f} k rows/s",
            goal,
        )


def window(bytewax: str) -> Iterator[Row]:
    """A count per key and minute of events in memory: ours and bytewax's, interleaved."""
    events = list(stream(300_000, 100, 1000, seed=3))
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "events"
        lines.write_text("".join(f"{e.time} {e.key}\n" for e in events), encoding="utf-8")
        for _ in range(3):
            out: list[Any] = []
            flow = Flow("f")
            flow.events().window(tumbling(60_000), count()).to(out)
            with Pipeline(flow, ahead_ms=None) as pipeline:
                begin = time.perf_counter()
                for first in range(0, len(events), 1000):
                    pipeline.feed(events[first : first + 1000])
                pipeline.finish()
                ours.append(time.perf_counter() - begin)
            if bytewax:
                command = [bytewax, str(Path(__file__).with_name("pipeline_bytewax.py")), str(lines)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                windows, items, seconds = done.stdout.split()[-3:]
                assert (int(windows), int(items)) == (len(out), sum(w.value for w in out)), "results differ"
                theirs.append(float(seconds))
    mine = len(events) / statistics.median(ours)
    yield "keyed tumbling window", f"{mine / 1e3:.0f} k events/s", ""
    if theirs:
        other = len(events) / statistics.median(theirs)
        yield "the same in bytewax 0.21", f"{other / 1e3:.0f} k events/s: {mine / other:.1f} ×", "≥ 2 ×"


def latency() -> Iterator[Row]:
    """From an event's arrival to the function that its match calls; 5,000 events/s for 10 s, 300 patterns."""
    done: list[float] = []
    flow = Flow("f")
    rng = random.Random(1)
    patterns = [
        event(rng.choice(KINDS), f"page{rng.randrange(100)}").followed_by(
            event(rng.choice(KINDS), f"page{rng.randrange(100)}")
        )
        for _ in range(300)
    ]
    flow.on(*patterns).map(lambda m: m.last).to(lambda e: done.append(time.perf_counter()))
    events = list(stream(50_000, 100, 100, seed=4))
    waits = []
    with Pipeline(flow, ahead_ms=None) as pipeline:
        gc.collect()
        gc.freeze()
        begin = time.perf_counter()
        for index, one in enumerate(events):
            due = begin + index / 5000
            while time.perf_counter() < due:
                pass
            before = len(done)
            pipeline.feed([one])
            if len(done) > before:
                waits.append(done[before] - due)
        gc.unfreeze()
    waits.sort()
    at = [waits[int(len(waits) * q)] for q in (0.5, 0.99, 0.999)]
    text = f"p50 {at[0] * 1e6:.0f} µs, p99 {at[1] * 1e3:.2f} ms, p99.9 {at[2] * 1e3:.2f} ms ({len(waits):,} matches)"
    yield "trigger latency at 5,000 events/s", text, "50 µs, 1 ms, 5 ms"


def ipv() -> Iterator[Row]:
    """The paper's example (44.16 ms on a phone, 33.73 s in the cloud; 21.2 KB, 1.3 KB, 128 B)."""
    from walle_pipeline.demo.ipv import Encoder, ipv_flow
    from walle_pipeline.demo.sessions import sessions
    from walle_pipeline.sinks import payload
    from walle_pipeline.tunnel import frames
    from walle_pipeline.tunnel.dictionary import Codec, train

    encoder = Encoder()
    features: list[Any] = []
    codes: list[bytes] = []
    raw, times, number = 0, [], 0
    with Pipeline(ipv_flow(features, codes, encoder), ahead_ms=None) as pipeline:
        for one in sessions(visits=2000):
            raw += len(msgspec.json.encode(one))
            number += 1
            before, begin = len(codes), time.perf_counter()
            pipeline.feed([one])
            if len(codes) > before:
                times.append(time.perf_counter() - begin)
    times.sort()
    text = f"p50 {times[len(times) // 2] * 1e3:.2f} ms, p99 {times[int(len(times) * 0.99)] * 1e3:.2f} ms"
    yield f"IPV: page exit to encoding, model on {encoder.session.backends[0]}", text, "≤ 5 ms"
    dictionary = train([payload(f) for f in features[:1000]])
    codec = Codec([dictionary])

    def framed(values: list[bytes]) -> list[int]:
        packed = [codec.pack(value, dictionary.version) for value in values]
        return sorted(
            len(frames.encode(frames.Data(1, n, flags, body))) + 8
            for n, (flags, body) in enumerate(packed, 1)
        )

    wire, code = framed([payload(f) for f in features[1000:]]), framed(codes[1000:])
    per = len(features)
    yield "IPV: raw events per feature", f"{number / per:.1f} events, {raw / per / 1e3:.1f} KB as JSON", ""
    yield "IPV: feature on the wire, framed", f"median {wire[len(wire) // 2]} B, most {wire[-1]} B", "≤ 300 B"
    yield "IPV: encoding on the wire, framed", f"most {code[-1]} B", "≤ 160 B"


def memory() -> Iterator[Row]:
    """In a process of its own, so that sizes are of this alone."""
    command = [sys.executable, __file__, "--memory"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        what, value, target = line.split("\t")
        yield what, value, target


def _memory() -> None:
    def visits(keys: int) -> Trigger:
        made = Trigger(kept=1 << 30)
        made.add("visit", page_visit("item").within(10**6))
        made.feed([PageEnter("item", START, f"user-{n:07d}", 1, 1) for n in range(keys)])
        return made

    gc.collect()
    base = resident()
    pending = visits(1000)
    for part in range(1, 101):
        events = [
            Scroll(
                "item",
                START + part * 1000 + n % 977,
                f"user-{n % 1000:07d}",
                part * 10 + n // 1000,
                1,
                depth=0.0,
            )
            for n in range(10_000)
        ]
        events.sort(key=lambda e: e.time)
        pending.feed(events)
    del events
    gc.collect()
    print(f"1 M pending events of 1,000 open visits\t{(resident() - base) / 1e6:.0f} MB\t≤ 32 MB")
    del pending
    gc.collect()
    base = resident()
    idle = visits(200_000)
    gc.collect()
    print(f"a key that waits within a visit\t{(resident() - base) / 200_000:.0f} B\t≤ 200 B")
    del idle
    gc.collect()
    flow = Flow("f")
    flow.on(page_visit("item")).map(lambda m: len(m.span)).window(tumbling(10_000), count()).to(
        lambda w: None
    )
    with Pipeline(flow, ahead_ms=None) as pipeline:

        def sessions(first: int, last: int) -> None:
            for n in range(first, last, 500):
                pipeline.feed(
                    [PageEnter("item", START + n, f"user-{k:07d}", 1, 1) for k in range(n, n + 500)]
                )
                pipeline.feed(
                    [PageExit("item", START + n + 1, f"user-{k:07d}", 2, 1) for k in range(n, n + 500)]
                )

        sessions(0, 20_000)
        gc.collect()
        base = resident()
        sessions(20_000, 1_020_000)
        gc.collect()
        print(
            f"RSS after 1 M closed sessions over before\t{resident() / base:.3f} × ({base / 1e6:.0f} MB)\t≤ 1.10 ×"
        )


class Add(Operator):
    """A plugin's operator."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def process(self, batch: Batch, port: int = 0) -> Batch:
        """See Operator."""
        amount = self.amount
        return Batch([value + amount for value in batch.values], batch.times, batch.keys)


def chain() -> Iterator[Row]:
    """Five operators of a plugin against the same five calls written by hand, per batch of 1,000; interleaved."""
    flow, out = Flow("f"), []
    made = flow.events()
    for amount in range(5):
        made = made.apply(Add(amount))
    made.to(out)
    values = list(range(1000))
    batch = Batch(values, values, values)

    def by_hand() -> None:
        ids = values
        for amount in range(5):
            ids = [value + amount for value in ids]
        result.extend(ids)

    def shares(pipeline: Pipeline) -> tuple[float, float]:
        first = pipeline.flows["f"].nodes[1]
        begin = time.perf_counter()
        first.take(batch)
        middle = time.perf_counter()
        by_hand()
        return middle - begin, time.perf_counter() - middle

    result: list[int] = []
    with Pipeline(flow, ahead_ms=None) as pipeline:
        rounds = []
        for _ in range(3000):
            rounds.append(shares(pipeline))
            out.clear()
            result.clear()
    ratio = statistics.median(a for a, _ in rounds) / statistics.median(b for _, b in rounds)
    yield "five chained plugin operators over code by hand", f"{ratio:.3f} × the time", "≤ 1.10 ×"


def idle() -> Iterator[Row]:
    """A pipeline that has had events and waits for more."""
    flow = Flow("f")
    flow.on(page_visit("item")).map(lambda m: 1).to([])
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed([PageEnter("item", START), PageExit("item", START + 1)])
        time.sleep(1.5)
        switches = _switches()
        begin = time.process_time()
        time.sleep(3)
        used, woken = time.process_time() - begin, _switches() - switches
        assert pipeline.deadline is None
    yield "no events, no open window, 3 s", f"{used * 1e3:.2f} ms of CPU, {max(woken - 1, 0)} wake-ups", "0"


def _switches() -> int:
    total = 0
    for task in Path("/proc/self/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary"):
                total += int(line.split()[1])
    return total


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "trigger": trigger, "path": path, "store": store, "window": lambda: window(""), "latency": latency, "ipv": ipv,
    "memory": memory, "chain": chain, "idle": idle,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--bytewax", default="", help="a Python that has bytewax 0.21")
    parser.add_argument("--markdown", type=Path, help="page to write the table into")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if options.memory:
        _memory()
        return
    PARTS["window"] = lambda: window(options.bytewax)
    today = date.today().isoformat()
    lines = ["## Data pipeline", "", f"{today}, {machine()}, one core. `make bench-pipeline`", ""]
    lines += ["| what | figure | goal |", "|---|---|---|"]
    for name in options.only.split(","):
        for row in PARTS[name]():
            lines.append("| " + " | ".join(row) + " |")
            print(lines[-1], flush=True)
    if options.markdown:
        write_section(options.markdown, "pipeline", lines)


if __name__ == "__main__":
    main()
