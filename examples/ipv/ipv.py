"""Recommends items from a user's own page visits: events become features on the device, a deep interest network ranks.

    python examples/ipv/ipv.py

Needs walle-pipeline. A trigger fires at the end of each visit of an item's page (IPV: item page view), a function makes a feature of
the visit's events, and the visits that lasted are the history that the network looks at.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import din
import numpy as np
from walle_pipeline import Flow, PageEnter, PageExit, Pipeline, Scroll, page_visit

import walle_core as walle

LASTED_MS, TOP = 3000, 5  # a shorter visit says nothing; how many items are shown


def events(rng: np.random.Generator, kinds: np.ndarray, likes: tuple[int, ...]) -> list[Any]:
    """What one user does: long visits of what is liked, with scrolling, and short ones of other things."""
    made: list[Any] = []
    now, good = 0, np.flatnonzero(np.isin(kinds, likes))
    for visit in range(4 * din.VISITS):
        liked = visit % 2 == 0
        item = int(rng.choice(good) if liked else rng.integers(0, din.ITEMS))
        stay = int(rng.integers(4000, 20000) if liked else rng.integers(300, 2000))
        contents = {"item": item}
        made.append(PageEnter("item", now, "ada", len(made) + 1, contents=contents))
        made += [
            Scroll("item", now + step, "ada", len(made) + 1 + number, contents=contents)
            for number, step in enumerate(range(1000, stay, 2000))
        ]
        now += stay
        made.append(PageExit("item", now, "ada", len(made) + 1, contents=contents))
        now += 500
    return made


def feature(visit: Any) -> dict[str, int]:
    """An encoding of one visit: which item, how long, how much was scrolled."""
    inside = visit.span
    return {
        "item": inside[0].contents["item"],
        "dwell_ms": visit.time - visit.start,
        "scrolls": len(inside) - 2,
    }


def visits(happened: list[Any]) -> list[dict[str, int]]:
    """The features of all visits, as the device's pipeline makes them."""
    features: list[dict[str, int]] = []
    flow = Flow("ipv")
    flow.on(page_visit("item")).map(feature).to(features)
    with Pipeline(flow, ahead_ms=None) as pipeline:
        pipeline.feed(happened)
        pipeline.finish()
    return features


def main() -> int:
    """Prints the recommendations; returns 0 if most of them are what the user likes."""
    rng = np.random.default_rng(0)
    items, kinds = din.catalogue(rng)
    began = time.perf_counter()
    weights = din.fit(rng, items, kinds)
    right = din.accuracy(rng, weights, items, kinds)
    print(f"fitted in {time.perf_counter() - began:.1f} s; foretells {right:.1%} of unseen users' clicks")

    likes = tuple(int(kind) for kind in rng.choice(din.KINDS, din.LIKED, replace=False))
    happened = events(rng, kinds, likes)
    features = visits(happened)
    lasted = [f["item"] for f in features if f["dwell_ms"] >= LASTED_MS]
    print(f"{len(happened)} events, {len(features)} visits, {len(lasted)} of them lasted")

    session = walle.Session(din.build(weights, items, din.ITEMS))
    given = {"history": np.array([lasted[-din.VISITS :]]), "candidates": np.arange(din.ITEMS)}
    session.run(given)
    began = time.perf_counter()
    (shares,) = session.run(given).values()
    took = time.perf_counter() - began
    row = np.asarray(shares)[:, 0]
    print(f"{din.ITEMS} candidates ranked in {took * 1e3:.2f} ms on {', '.join(session.backends)}")
    best = [int(item) for item in np.argsort(-row)[:TOP]]
    for item in best:
        print(
            f"  item {item:>3} of kind {kinds[item]}  {row[item]:.1%}{'  liked' if kinds[item] in likes else ''}"
        )
    return 0 if sum(kinds[item] in likes for item in best) > TOP // 2 else 1


if __name__ == "__main__":
    sys.exit(main())
