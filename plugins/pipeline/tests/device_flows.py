"""A device under test: its flows and an endless sequence of events, the same in every process."""

import random
from types import SimpleNamespace

from walle_pipeline import (
    Click,
    Exposure,
    Flow,
    PageEnter,
    PageExit,
    Scroll,
    count,
    page_visit,
    session,
    tumbling,
)
from walle_pipeline.device import Device

KEYS = [f"user/{i}" for i in range(5)]


def events(first, last, seed=3):
    """Events number `first` to before `last`; some have one time, some come too late."""
    dice, time, found = random.Random(seed), 1000, []
    for number in range(last):
        time += dice.choice([0, 0, 1, 5, 40])
        kind = dice.choice([PageEnter, PageExit, Click, Click, Exposure, Scroll])
        late = dice.random() < 0.02
        event = kind(dice.choice("ab"), max(0, time - 50 * late), dice.choice(KEYS), number + 1)
        if number >= first:
            found.append(event)
    return found


def flows(tunnel, store):
    """Page visits and sessions to the tunnel and the store; two sinks of each flow share a stream."""
    visits = Flow("visits")
    made = visits.on(page_visit("a"), page_visit("b")).map(visit)
    made.to(tunnel, stream="visits")
    made.to(store, table="visits")
    clicks = Flow("clicks")
    source = clicks.events("click")
    source.side("late").map(lambda e: f"late {e.key} {e.id}".encode()).to(tunnel, stream="clicks")
    counted = source.window(session(60), count()).map(
        lambda w: f"session {w.key} {w.start} {w.value}".encode()
    )
    counted.to(tunnel, stream="clicks")
    source.window(tumbling(50), count()).map(lambda w: f"window {w.key} {w.start} {w.value}".encode()).to(
        store, table="clicks"
    )
    return visits, clicks


def visit(match):
    return f"visit {match.key} {[event.id for event in match.events]}".encode()


class Cloud:
    """Stands for an outbox and the cloud behind it, and for a store: each name once, the first or the last payload."""

    def __init__(self):
        self.sent, self.rows, self.offered, self.full = {}, {}, 0, None
        self.tunnel, self.store = (
            SimpleNamespace(send_many=self.send_many),
            SimpleNamespace(put_many=self.put_many),
        )

    def send_many(self, items):
        if self.full:
            raise self.full
        for stream, payload, name in items:
            self.offered += 1
            assert self.sent.setdefault((stream, name), payload) == payload, "one name, two payloads"

    def put_many(self, table, rows):
        if self.full:
            raise self.full
        for key, value, time in rows:
            assert self.rows.setdefault((table, key), (value, time)) == (value, time), "one key, two values"

    def stream(self, name):
        return [payload for (stream, _), payload in self.sent.items() if stream == name]


class Killed:
    """Starts a device over and over on nothing but its files, as a killed process leaves them."""

    def __init__(self, folder, cloud, **settings):
        self.folder, self.cloud, self.settings, self.device = folder, cloud, settings, None

    def start(self):
        if self.device is not None:  # ends without a word: what is not in the files is gone
            self.device._log._file.close()
            self.device.pipeline.close()
            self.device._files.close()
        self.device = Device(
            self.folder, *flows(self.cloud.tunnel, self.cloud.store), ahead_ms=None, **self.settings
        )
        return self.device


def whole(some, tmp_path, sizes=(), **settings):
    """What an uninterrupted run gives, fed with so many events at a time, then all that are left."""
    cloud, at = Cloud(), 0
    with Device(
        tmp_path / "whole", *flows(cloud.tunnel, cloud.store), ahead_ms=None, snapshot_every=10**9, **settings
    ) as device:
        for size in (*sizes, len(some)):
            device.feed(some[at : at + size])
            at += size
        device.finish()
    return cloud
