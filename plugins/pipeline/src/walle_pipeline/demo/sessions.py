"""Seeded users that browse a shop: about 20 events of about 1 KB each per item page."""

from __future__ import annotations

import random
from collections.abc import Iterator

from walle_pipeline.events import Click, Event, Exposure, PageEnter, PageExit, Scroll

WIDGETS = (
    "image",
    "image",
    "detail",
    "detail",
    "reviews",
    "reviews",
    "size",
    "colour",
    "share",
    "favourite",
    "cart",
    "buy",
)
CATEGORIES = ("shoes", "books", "phones", "toys", "garden", "music", "sports", "kitchen")
_WORDS = (
    "blue",
    "large",
    "new",
    "sale",
    "light",
    "classic",
    "set",
    "pro",
    "mini",
    "soft",
    "dark",
    "air",
    "plus",
    "wool",
)


def _attributes(rng: random.Random, item: int, category: str) -> dict[str, object]:
    """What an application records with each event: about 1 KB as JSON, most of it the same for one item."""
    title = " ".join(_WORDS[(item * 7 + i * i) % len(_WORDS)] for i in range(8))
    return {
        "item_id": f"{item:012d}", "title": title, "category": category, "seller": f"seller-{item % 997:05d}",
        "price": round((item * 37 % 20_000) / 100 + 1, 2), "currency": "EUR", "stock": item % 50,
        "images": [f"https://img.example.com/{item:012d}/{n}.webp" for n in range(4)],
        "trace": f"{rng.getrandbits(128):032x}", "widget_path": f"root/page/item/{rng.choice(WIDGETS)}/{rng.randrange(9)}",
        "x": rng.randrange(1080), "y": rng.randrange(2400), "battery": rng.randrange(101), "network": rng.choice(("wifi", "5g", "4g")),
        "app": {"version": "10.21.5", "channel": "store", "build": 77123, "theme": "light", "locale": "de_DE"},
        "device": {"model": "P-900", "os": "14", "ram_mb": 8192, "screen": [1080, 2400], "fonts": 1.0, "dark": False},
        "experiments": [f"exp-{(item + n) % 211:04d}:{'ab'[n % 2]}" for n in range(8)],
        "scroll_y": rng.randrange(9000), "session": f"{rng.getrandbits(64):016x}",
    }  # fmt: skip


def visit(
    rng: random.Random, key: str, start: int, number: int, instance: int
) -> tuple[list[Event], int, int]:
    """One item page view; returns its events, the time, ms, and the number after them."""
    item = int(rng.paretovariate(1.1) * 1000) % 1_000_000
    category = CATEGORIES[item % len(CATEGORIES)]
    time = start
    events: list[Event] = []

    def add(kind: type[Event], **fields: object) -> None:
        nonlocal time, number
        number += 1
        contents = _attributes(rng, item, category)
        events.append(kind("item", time, key, number, instance, contents, **fields))
        time += int(rng.lognormvariate(6.5, 0.9)) + 1

    add(PageEnter, source=rng.choice(("search", "list", "home", "ad")))
    for _ in range(max(3, int(rng.gauss(17, 5)))):
        what = rng.random()
        if what < 0.35:
            add(Scroll, depth=round(rng.random(), 3))
        elif what < 0.7:
            add(Exposure, item=f"{(item * 31 + rng.randrange(40)) % 1_000_000:012d}")
        else:
            add(Click, widget=rng.choice(WIDGETS), item=f"{item:012d}")
    add(PageExit)
    return events, time, number


def sessions(
    seed: int = 1, users: int = 50, visits: int = 1000, start: int = 1_780_000_000_000
) -> Iterator[Event]:
    """Events of `visits` item page views by `users` users, in order of time."""
    rng = random.Random(seed)  # noqa: S311
    made: list[Event] = []
    clocks = {f"user-{n:06d}": (start + rng.randrange(60_000), 0, 0) for n in range(users)}
    for _ in range(visits):
        key = rng.choice(list(clocks))
        time, number, instance = clocks[key]
        events, time, number = visit(rng, key, time, number, instance + 1)
        made += events
        clocks[key] = (time + rng.randrange(1000, 30_000), number, instance + 1)
    made.sort(key=lambda e: (e.time, e.key, e.id))
    yield from made
