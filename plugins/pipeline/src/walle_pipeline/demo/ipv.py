"""Item page view: the events of one visit become a feature of at most 1.3 KB, and that an encoding of 128 bytes.

OSDI'22 Walle, section 7.2: about 19 raw events (21 KB) -> 1.3 KB -> 128 B.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any
from zlib import crc32

from walle_pipeline._engine import Match
from walle_pipeline.flow import Flow
from walle_pipeline.pattern import page_visit

INPUTS, OUTPUTS = 256, 128


def feature(match: Match) -> dict[str, Any]:
    """What one visit of an item page says: counts, times, the way through the page."""
    events = match.span
    first, last = events[0], events[-1]
    kinds = Counter(event.kind for event in events)
    clicks = [event for event in events if event.kind == "click"]
    widgets = Counter(event.widget for event in clicks)
    depths = [event.depth for event in events if event.kind == "scroll"]
    gaps = [b.time - a.time for a, b in zip(events, events[1:], strict=False)]
    about = first.contents
    return {
        "user": match.key, "item": about.get("item_id", ""), "category": about.get("category", ""),
        "price": about.get("price", 0.0), "seller": about.get("seller", ""), "source": getattr(first, "source", ""),
        "start": first.time, "dwell_ms": last.time - first.time, "events": len(events), "kinds": dict(kinds),
        "widgets": dict(widgets), "favourite": widgets["favourite"] > 0, "cart": widgets["cart"] > 0, "bought": widgets["buy"] > 0,
        "depth": max(depths, default=0.0), "scrolls": [round(d, 2) for d in depths[:16]],
        "seen": [event.item for event in events if event.kind == "exposure"][:12],
        "first_click_ms": clicks[0].time - first.time if clicks else -1, "longest_gap_ms": max(gaps, default=0),
        "mean_gap_ms": round(sum(gaps) / len(gaps)) if gaps else 0,
        "way": "".join({"page_enter": "E", "page_exit": "X", "scroll": "s", "exposure": "e", "click": "c"}.get(e.kind, "?") for e in events)[:64],
    }  # fmt: skip


def vector(value: dict[str, Any]) -> list[float]:
    """The feature as `INPUTS` numbers: logarithms of amounts, and hashed counts."""
    out = [0.0] * INPUTS
    amounts = ("dwell_ms", "events", "price", "depth", "first_click_ms", "longest_gap_ms", "mean_gap_ms")
    for index, name in enumerate(amounts):
        out[index] = math.log1p(max(float(value[name]), 0.0)) / 10
    for index, name in enumerate(("favourite", "cart", "bought"), len(amounts)):
        out[index] = float(value[name])
    for group in ("kinds", "widgets"):
        for name, n in value[group].items():
            out[16 + crc32(f"{group}{name}".encode()) % 112] += n / 10
    for name in (value["category"], value["source"], value["seller"], value["item"], *value["seen"]):
        out[128 + crc32(name.encode()) % 128] += 0.25
    return out


def encoder_graph(seed: int = 7) -> Any:
    """A model that maps `INPUTS` numbers to `OUTPUTS` between -1 and 1: a random projection (Johnson and Lindenstrauss),
    which keeps distances, and tanh. A trained encoder of the same shape takes its place.
    """
    import random

    from walle_core import Tensor
    from walle_core.graph.ir import Graph, Node
    from walle_core.types import TensorSpec, float32

    rng = random.Random(seed)  # noqa: S311
    weights = Tensor.of(
        [[rng.gauss(0, 1 / math.sqrt(OUTPUTS)) for _ in range(OUTPUTS)] for _ in range(INPUTS)], "float32"
    )
    specs = {
        "feature": TensorSpec(float32, (1, INPUTS)), "weights": TensorSpec(float32, (INPUTS, OUTPUTS)),
        "sum": TensorSpec(float32, (1, OUTPUTS)), "code": TensorSpec(float32, (1, OUTPUTS)),
    }  # fmt: skip
    nodes = (
        Node("MatMul", ("feature", "weights"), ("sum",), {}, "project"),
        Node("Tanh", ("sum",), ("code",), {}, "squash"),
    )
    return Graph(("feature",), ("code",), nodes, {"weights": weights}, specs, "ipv_encoder")


class Encoder:
    """Encodes features by a model on the backend that the search finds fastest; 128 bytes each.

    Args:
        backend: name of another one.
    """

    def __init__(self, backend: str | None = None) -> None:
        from walle_core import Session, Tensor

        self.input = Tensor((1, INPUTS), "float32")
        self.view = (
            memoryview(self.input).cast("B").cast("f")
        )  # written in place: the session reads it without a copy
        self.session = Session(encoder_graph(), backend=backend, threads=1)

    def __call__(self, value: dict[str, Any]) -> bytes:
        """The encoding of a feature: `OUTPUTS` signed bytes."""
        self.view[:] = memoryview(_floats(vector(value)))
        code = memoryview(self.session.run([self.input])["code"]).cast("B").cast("f")
        return bytes([round(x * 127) & 0xFF for x in code])


def _floats(values: list[float]) -> Any:
    from array import array

    return array("f", values)


def ipv_flow(features: Any, codes: Any, encode: Any, page: str = "item") -> Flow:
    """The flow of the example: `features` gets the features, `codes` the encodings; both are what `Stream.to` takes."""
    flow = Flow("ipv")
    made = flow.on(page_visit(page)).map(feature)
    made.to(features)
    made.map(encode).to(codes)
    return flow
