"""Measures a table backend's rates with its own kernels: P per rate class, B per memory level, S per dispatch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from walle_core._native import Program, Tensor
from walle_core.backends.probes import conv, gemm, inputs_of, shortest, unary
from walle_core.backends.table.halves import KINDS
from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph
from walle_core.graph.lower import lower
from walle_core.types import Candidate, DeviceRates

if TYPE_CHECKING:
    from walle_core.backends.table.backend import TableBackend

LEVELS = (
    2.0**14,
    2.0**18,
    2.0**22,
    2.0**26,
)  # working sets in bytes: first, second, third level cache, memory
BUDGET_S = 0.08  # per probe


def _seconds(backend: TableBackend, graph: Graph, threads: int, only: str = "") -> tuple[float, float]:
    """(seconds of one run, elementary operations) of a probe graph; `only` names the rate class to take."""

    def pick(node: Any, specs: Any, constants: Any) -> Candidate | None:
        offers = backend.candidates(node, specs, constants)
        wanted = [c for c in offers if only in ("", c.rate)] or offers
        return wanted[0] if wanted else None

    lowered = lower(graph, pick, backend.traits, lambda node, inputs: None)
    executable = backend.prepare(lowered.graph, lowered.choices, threads, "high")
    inputs = inputs_of(graph)
    ops = sum(c.ops for c in lowered.choices.values())
    return shortest(lambda: executable.run(inputs), BUDGET_S), ops


def _conv_int8(size: int, channels: int, kernel: int, group: int = 1) -> Graph:
    g = Builder()
    x = g.input("x", "uint8", (1, size, size, channels))
    w = g.const(Tensor((channels, channels // group, kernel, kernel), "int8"))
    scale = g.const(Tensor((channels,), "float32"))
    window = {"kernel_shape": (kernel, kernel), "pads": (kernel // 2,) * 4, "group": group, "layout": "NHWC"}
    return g.graph([g.QuantizedConv(x, w, scale, **window)])


PROBE_CHAINS, PROBE_ROUNDS = 12, 1 << 16  # kProbeChains of probe.hpp; a tenth of a millisecond


def _peak(backend: TableBackend, threads: int) -> float:
    """Multiply-adds per second that the processor does at most, in operations; no candidate reaches more by brute force."""
    kernel = backend.kernels.kernel("probe", "fma")
    if kernel is None:
        return 0.0
    lanes = kernel.lanes
    step: tuple[Any, ...] = (kernel, [("output", 0, 0)], [], PROBE_ROUNDS * threads, PROBE_ROUNDS)
    program = Program(Tensor((64,), "uint8"), [step], [], [("float32", (lanes,))], threads)
    ops = 2.0 * PROBE_CHAINS * lanes * PROBE_ROUNDS * threads
    return ops / shortest(lambda: program.run([]), BUDGET_S)


def measure(backend: TableBackend, threads: int, progress: Callable[[str], None]) -> DeviceRates:
    """Rates of the processor as `threads` threads see it."""
    dispatches = 64
    progress("dispatch")
    many, _ = _seconds(backend, unary("Abs", 16, dispatches), threads)
    one, _ = _seconds(backend, unary("Abs", 16), threads)
    dispatch_s = max(1e-8, (many - one) / (dispatches - 1))
    call_s = max(1e-7, one - dispatch_s)

    def rate(graph: Graph, only: str = "") -> float:
        seconds, ops = _seconds(backend, graph, threads, only)
        return ops / max(seconds - call_s, seconds * 0.2)

    progress("peak")
    rates = {"peak": peak} if (peak := _peak(backend, threads)) else {}
    probes: list[tuple[str, Callable[[], Graph], str]] = [
        ("gemm", lambda: gemm(192), ""),
        ("direct", lambda: conv(28, False), "direct"),
        ("winograd", lambda: conv(28, False), "winograd"),
        ("depthwise", lambda: conv(28, True), "depthwise"),
        ("elementwise", lambda: unary("Exp", 8192), ""),
    ]
    if backend.kernels.kernel("int8", "conv", "uint8") is not None:
        probes += [
            ("gemm_int8", lambda: _conv_int8(14, 256, 1), "gemm_int8"),
            ("direct_int8", lambda: _conv_int8(28, 64, 3), "direct_int8"),
            ("depthwise_int8", lambda: _conv_int8(28, 64, 3, 64), "depthwise_int8"),
        ]
    for kind in KINDS:
        if backend.kernels.kernel(f"{kind}_dot", "conv") is not None:
            probes += [
                (f"gemm_{kind}", lambda: gemm(192), f"gemm_{kind}"),
                (f"direct_{kind}", lambda: conv(28, False), f"direct_{kind}"),
            ]
    for name, graph, only in probes:
        progress(name)
        rates[name] = rate(graph(), only)
    levels = []
    for nbytes in LEVELS:
        progress(f"memory {int(nbytes)} bytes")
        seconds, _ = _seconds(backend, unary("Abs", int(nbytes) // 8), threads)
        limit = nbytes * 2 if nbytes != LEVELS[-1] else math.inf
        levels.append((limit, nbytes / max(seconds - call_s, seconds * 0.2)))
    return DeviceRates(rates, tuple(levels), dispatch_s, call_s)
