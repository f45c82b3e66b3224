"""Measures a device's rates with its own kernels: P per rate class, B per working set, S per launch, transfers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from walle_core._native import Tensor
from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph, Node
from walle_core.graph.lower import lower
from walle_core.types import Candidate, DeviceRates

if TYPE_CHECKING:
    from walle_core.backends.device.backend import DeviceBackend, DeviceExecutable

LEVELS = (2.0**16, 2.0**20, 2.0**24)  # working sets in bytes
BUDGET_S = 0.1  # per probe, without building its kernels
DISPATCHES, PROFILES = 32, 5


def shortest(run: Callable[[], Any], budget: float = BUDGET_S, least: int = 3) -> float:
    """Seconds of the shortest run: whatever disturbs one makes it longer."""
    run()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < least or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def prepared(
    backend: DeviceBackend, graph: Graph, pick: Callable[[Sequence[Candidate]], Candidate | None]
) -> tuple[DeviceExecutable, float]:
    """(executable, elementary operations) of a graph with the candidates that `pick` takes."""

    def choose(node: Node, specs: Any, constants: Any) -> Candidate | None:
        return pick(backend.candidates(node, specs, constants))

    lowered = lower(graph, choose, backend.traits, lambda node, inputs: None)
    ops = sum(c.ops for c in lowered.choices.values())
    return backend.prepare(lowered.graph, lowered.choices, 1, "high"), ops


def inputs_of(graph: Graph) -> list[Tensor]:
    """Zeros for every input of a graph with static specs."""
    return [Tensor(graph.specs[n].sizes, graph.specs[n].dtype.name) for n in graph.inputs]


def _fewest(offers: Sequence[Candidate]) -> Candidate | None:
    return min(offers, key=lambda c: c.ops, default=None)


def _gemm() -> Graph:
    g = Builder()
    x = g.input("x", "float32", (384, 512))
    return g.graph([g.MatMul(x, g.const(Tensor((512, 512))))])


def _conv(depthwise: bool) -> Graph:
    g = Builder()
    c = 64
    x = g.input("x", "float32", (1, 56, 56, c))
    w = g.const(Tensor((c, 1 if depthwise else c, 3, 3)))
    window = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "group": c if depthwise else 1, "layout": "NHWC"}
    return g.graph([g.FusedConv(x, w, **window)])


def _unary(op: str, elements: int, repeat: int = 1) -> Graph:
    g = Builder()
    y = g.input("x", "float32", (elements,))
    for _ in range(repeat):
        y = g.op(op, y)
    return g.graph([y])


def _softmaxes(repeat: int) -> Graph:
    g = Builder()
    y = g.input("x", "float32", (1, 16))
    for _ in range(repeat):
        y = g.Softmax(y, axis=-1)
    return g.graph([y])


def measure(backend: DeviceBackend, progress: Callable[[str], None]) -> DeviceRates:
    """Rates of the device: launches by its own clock, what surrounds them by the host's."""

    def timed(graph: Graph) -> tuple[float, float, float]:
        """(seconds of a run, of its launches alone, elementary operations)."""
        executable, ops = prepared(backend, graph, _fewest)
        inputs = inputs_of(graph)
        run = shortest(lambda: executable.run(inputs))
        return run, min(sum(executable.profile(inputs)[1]) for _ in range(PROFILES)) * 1e-9, ops

    progress("launch")  # launches that wait for each other and are not joined
    many, one = timed(_softmaxes(DISPATCHES))[0], timed(_softmaxes(1))[0]
    dispatch_s = max(1e-8, (many - one) / (DISPATCHES - 1))
    call_s = max(1e-7, one - dispatch_s)
    rates: dict[str, float] = {}
    for name, graph in (
        ("gemm", _gemm()), ("direct", _conv(False)), ("depthwise", _conv(True)), ("elementwise", _unary("Exp", 1 << 15)),
    ):  # fmt: skip
        progress(name)
        _, alone, ops = timed(graph)
        rates[name] = ops / max(alone, 1e-9)
    levels, transfer = [], math.inf
    for size in LEVELS:
        progress(f"memory {int(size)} bytes")
        took, alone, _ = timed(_unary("Abs", int(size) // 8))
        limit = size * 2 if size != LEVELS[-1] else math.inf
        levels.append((limit, size / max(alone, 1e-9)))
        transfer = size / max(took - alone - call_s, 1e-9)
    return DeviceRates(rates, tuple(levels), dispatch_s, call_s, transfer)
