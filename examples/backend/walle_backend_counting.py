"""A backend in one file: elementwise operators and matrix products on NumPy, and it counts what it was given.

A plugin is a module with hooks and an entry point of the group `walle`; docs/write-a-backend.md goes on from here: data movement, plans
that are kept, failures, conformance.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from walle_core import Graph, Node, Tensor, hookimpl
from walle_core.protocols import BackendTraits
from walle_core.types import Candidate, Device, DeviceRates, TensorSpec

KERNELS = {"Relu": lambda x: np.maximum(x, 0), "Add": np.add, "Mul": np.multiply, "MatMul": np.matmul}
RUNS: Counter[str] = Counter()


class Executable:
    """A part of a graph, ready to run."""

    def __init__(self, graph: Graph, choices: Mapping[str, Candidate]) -> None:
        self._graph, self._choices = graph, choices
        self._constants = {name: np.asarray(value) for name, value in graph.constants.items()}

    def run(self, inputs: Sequence[Any]) -> list[Tensor]:
        """Tensors in, in the order of the graph's inputs; tensors out."""
        values = {**self._constants, **dict(zip(self._graph.inputs, map(np.asarray, inputs), strict=True))}
        for node in self._graph.nodes:
            RUNS[node.op] += 1
            values[node.outputs[0]] = KERNELS[node.op](*(values[name] for name in node.inputs))
        return [Tensor.of(np.ascontiguousarray(values[name])) for name in self._graph.outputs]

    def describe(self) -> list[dict[str, str]]:
        """A line per step, for `walle explain`."""
        return [
            {"name": n.name, "op": n.op, "algorithm": self._choices[n.name].algorithm}
            for n in self._graph.nodes
        ]


class CountingBackend:
    """What the search asks, and what prepares a part that it won."""

    name, version, traits = "counting", "0.1.0", BackendTraits(layout="NCHW")
    known_gaps: Mapping[str, str] = {}

    def devices(self) -> list[Device]:
        """Where it runs; the first call that may touch hardware."""
        return [Device("NumPy", f"numpy-{np.__version__}")]

    def candidates(
        self, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
    ) -> list[Candidate]:
        """One way to run what it knows, with its operations and bytes; nothing else."""
        names = [name for name in (*node.inputs, *node.outputs) if name]
        if node.op not in KERNELS or {specs[name].dtype.name for name in names} != {"float32"}:
            return []
        out = specs[node.outputs[0]]
        inner = (specs[node.inputs[0]].sizes or (1,))[-1] if node.op == "MatMul" else 0.5
        kind = "gemm" if node.op == "MatMul" else "elementwise"
        return [
            Candidate("numpy", kind, ops=2.0 * out.size * inner, bytes=sum(specs[n].nbytes for n in names))
        ]

    def prepare(
        self, graph: Graph, choices: Mapping[str, Candidate], threads: int, precision: str
    ) -> Executable:
        """Everything that need not be done in each run."""
        return Executable(graph, choices)

    def calibrate(self, device: Device, threads: int, progress: Any) -> DeviceRates:
        """Operations and bytes a second, and what a call costs: measured once per device."""
        a, x = np.ones((256, 256), np.float32), np.ones(1 << 16, np.float32)
        rates = {
            "gemm": 2 * 256**3 / _seconds(lambda: a @ a),
            "elementwise": x.size / _seconds(lambda: x + x),
        }
        return DeviceRates(
            rates, ((float("inf"), 2 * x.nbytes / _seconds(x.copy)),), _seconds(lambda: x[:1] + 1)
        )


def _seconds(run: Any) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return max(min(times), 1e-9)


@hookimpl
def walle_register_backends(registry: Any) -> None:
    """Called once, when plugins are loaded."""
    registry.add(CountingBackend())
