"""What calibrations run: small graphs of one kernel each, and the statistics of their times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from walle_core._native import Tensor
from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph


def shortest(run: Callable[[], Any], budget: float) -> float:
    """Seconds of the shortest run within `budget` seconds: whatever disturbs one makes it longer."""
    run()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def quartile(seconds: Callable[[], float], budget: float) -> float:
    """Lower quartile of what `seconds()` says within `budget` seconds: three in four may be disturbed by other work.

    The shortest alone is luck on a device whose threads meet at every launch.
    """
    seconds()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 9 or (time.perf_counter() < end and len(times) < 1000):
        times.append(seconds())
    return sorted(times)[len(times) // 4]


def inputs_of(graph: Graph) -> list[Tensor]:
    """Zeros for every input of a graph with static specs."""
    return [Tensor(graph.specs[n].sizes, graph.specs[n].dtype.name) for n in graph.inputs]


def gemm(rows: int) -> Graph:
    """[rows, 512] x [512, 512]."""
    g = Builder()
    x = g.input("x", "float32", (rows, 512))
    return g.graph([g.MatMul(x, g.const(Tensor((512, 512))))])


def conv(size: int, depthwise: bool) -> Graph:
    """3 x 3 over 64 channels of a square image, channels last."""
    g = Builder()
    c = 64
    x = g.input("x", "float32", (1, size, size, c))
    w = g.const(Tensor((c, 1 if depthwise else c, 3, 3)))
    window = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "group": c if depthwise else 1, "layout": "NHWC"}
    return g.graph([g.FusedConv(x, w, **window)])


def unary(op: str, elements: int, repeat: int = 1) -> Graph:
    """An operator on a vector, `repeat` times."""
    g = Builder()
    y = g.input("x", "float32", (elements,))
    for _ in range(repeat):
        y = g.op(op, y)
    return g.graph([y])
