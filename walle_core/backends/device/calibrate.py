"""Measures a device's rates with its own kernels: P per rate class, B per working set, S per launch, transfers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from walle_core.backends.probes import conv, gemm, inputs_of, quartile, unary
from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph, Node
from walle_core.graph.lower import lower
from walle_core.types import Candidate, DeviceRates

if TYPE_CHECKING:
    from walle_core.backends.device.backend import DeviceBackend, DeviceExecutable

LEVELS = (2.0**16, 2.0**20, 2.0**24)  # working sets in bytes
BUDGET_S = 0.2  # per probe and kind of time, without building its kernels
DISPATCHES = 32


def prepared(
    backend: DeviceBackend, graph: Graph, pick: Callable[[Sequence[Candidate]], Candidate | None]
) -> tuple[DeviceExecutable, float]:
    """(executable, elementary operations) of a graph with the candidates that `pick` takes."""

    def choose(node: Node, specs: Any, constants: Any) -> Candidate | None:
        return pick(backend.candidates(node, specs, constants))

    lowered = lower(graph, choose, backend.traits, lambda node, inputs: None)
    ops = sum(c.ops for c in lowered.choices.values())
    return backend.prepare(lowered.graph, lowered.choices, 1, "high"), ops


def _fewest(offers: Sequence[Candidate]) -> Candidate | None:
    return min(offers, key=lambda c: c.ops, default=None)


def _softmaxes(repeat: int) -> Graph:
    g = Builder()
    y = g.input("x", "float32", (128, 16))  # some work groups: one alone would wake no other unit
    for _ in range(repeat):
        y = g.Softmax(y, axis=-1)
    return g.graph([y])


def measure(backend: DeviceBackend, progress: Callable[[str], None]) -> DeviceRates:
    """Rates of the device: launches by its own clock, what surrounds them by the host's."""

    def timed(graph: Graph) -> tuple[float, float, float]:
        """(seconds of a run, of its launches alone, elementary operations)."""
        executable, ops = prepared(backend, graph, _fewest)
        inputs = inputs_of(graph)

        def whole() -> float:
            start = time.perf_counter()
            executable.run(inputs)
            return time.perf_counter() - start

        alone = quartile(lambda: sum(executable.profile(inputs)[1]) * 1e-9, BUDGET_S)
        return quartile(whole, BUDGET_S), alone, ops

    progress("launch")  # launches that wait for each other and are not joined
    many, one = timed(_softmaxes(DISPATCHES))[0], timed(_softmaxes(1))[0]
    dispatch_s = max(1e-8, (many - one) / (DISPATCHES - 1))
    call_s = max(1e-7, one - dispatch_s)
    rates: dict[str, float] = {}
    for name, graph in (
        ("gemm", gemm(384)), ("direct", conv(56, False)), ("depthwise", conv(56, True)), ("elementwise", unary("Exp", 1 << 15)),
    ):  # fmt: skip
        progress(name)
        _, alone, ops = timed(graph)
        rates[name] = ops / max(alone, 1e-9)
    levels, transfer = [], math.inf
    for size in LEVELS:
        progress(f"memory {int(size)} bytes")
        took, alone, _ = timed(unary("Abs", int(size) // 8))
        limit = size * 2 if size != LEVELS[-1] else math.inf
        levels.append((limit, size / max(alone, 1e-9)))
        transfer = size / max(took - alone - call_s, 1e-9)
    return DeviceRates(rates, tuple(levels), dispatch_s, call_s, transfer)
