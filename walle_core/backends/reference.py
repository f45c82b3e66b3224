"""The reference backend: every operator by its NumPy definition. Always there where NumPy is; the oracle of all others."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from walle_core.backends.arrays import to_array, to_tensor
from walle_core.backends.interpreter import Interpreter, called, evaluate, guarded
from walle_core.errors import BackendError, WalleError
from walle_core.graph.decompose import decompose_node
from walle_core.graph.ir import Graph, Node, subgraphs
from walle_core.graph.shapes import operations
from walle_core.ops import find
from walle_core.ops.convolution import conv
from walle_core.ops.define import OpDef
from walle_core.ops.numpy_lazy import np
from walle_core.protocols import BackendTraits
from walle_core.types import Candidate, Device, DeviceRates, TensorSpec

__all__ = ["ReferenceBackend", "evaluate", "run_node"]

# Families whose references spend their time in a BLAS matrix product.
GEMM_FAMILIES = frozenset({"matmul", "convolution", "attention", "recurrent"})
COMPOSITE_CALLS = 12  # NumPy calls that the reference of a composite makes, against one of an atomic operator
CALL_S = 10e-6  # environment, error state and result conversion of one run, on top of the nodes


@attrs.frozen(eq=False)
class ReferenceExecutable:
    """A graph held by the interpreter; any shapes run."""

    graph: Graph
    choices: Mapping[str, Candidate]
    interpreter: Interpreter

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Runs once on Tensors or arrays in the order of the graph's inputs; returns Tensors (strings: arrays)."""
        names = self.graph.inputs
        if len(inputs) != len(names):
            raise BackendError(
                f"{self.graph.name} takes {len(names)} inputs ({', '.join(names)}), not {len(inputs)}"
            )
        return [to_tensor(v) for v in self.interpreter.run(dict(zip(names, inputs, strict=True)))]

    def describe(self) -> Sequence[Mapping[str, Any]]:
        """One mapping per node."""
        return [
            {
                "name": n.name,
                "op": n.op,
                "algorithm": self.choices[n.name].algorithm if n.name in self.choices else "numpy",
            }
            for n in self.graph.nodes
        ]


def run_node(node: Node, inputs: Sequence[Any], outer: Mapping[str, Any] | None = None) -> list[Any]:
    """Outputs of one node by its reference.

    Args:
        node: any node, also control flow.
        inputs: one Tensor, array, list or None per input.
        outer: values of the enclosing scope that the node's subgraphs read.

    Raises: as `evaluate`.
    """
    names = tuple(f"{i}" if n else "" for i, n in enumerate(node.inputs))
    op = find(node.op)
    if op is not None and op.kind != "control" and op.reference is not None:
        plain = node.evolve(inputs=names)
        values = {n: to_array(v) for n, v in zip(names, inputs, strict=True) if n}
        with np.errstate(all="ignore"):
            results = guarded(plain, called(plain, op))(values)
        made = dict(zip(node.outputs, results, strict=False))
        return [to_tensor(made[o]) if o else None for o in node.outputs]
    outputs = tuple(o for o in node.outputs if o)
    graph = Graph(tuple(n for n in names if n), outputs, (node.evolve(inputs=names),), name=str(node))
    feeds = {n: v for n, v in zip(names, inputs, strict=True) if n}
    scope = {k: to_array(v) for k, v in (outer or {}).items()}
    made = dict(zip(outputs, evaluate(graph, feeds, scope), strict=True))
    return [to_tensor(made[o]) if o else None for o in node.outputs]


class ReferenceBackend:
    """Runs every node whose operator has a NumPy reference or a decomposition.

    A matrix product uses the threads that NumPy's BLAS was configured with (OPENBLAS_NUM_THREADS and the like); the
    number that `prepare` is given does not change it, and calibration measures what it does.
    """

    name = "reference"
    version = "2"

    def __init__(self) -> None:
        self.known_gaps: Mapping[str, str] = {}
        self.traits = BackendTraits(native_transforms=True)

    def devices(self) -> Sequence[Device]:
        """One device where NumPy can be imported, else none."""
        try:
            if importlib.util.find_spec("numpy") is None:
                return ()
            version = np.__version__
        except (ImportError, AttributeError):
            return ()
        key = f"numpy-{version}-{platform.machine()}-{os.cpu_count()}-{self.version}"
        return (Device("NumPy", key, {"numpy": version, "cores": os.cpu_count() or 1}),)

    def candidates(
        self, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
    ) -> Sequence[Candidate]:
        """One way per node that has a reference, a decomposition or an executed control flow; else none."""
        op = find(node.op)
        if op is None:
            return ()
        if op.kind == "control":
            ops = float(sum(len(g.nodes) for g in subgraphs(node)))
            return (
                Candidate(
                    "control", "elementwise", ops, _moved(node, specs), int(ops) or 1, why="subgraphs by name"
                ),
            )
        if op.reference is None:
            return self._decomposed(node, specs, constants)
        ops, calls = operations(node, specs, constants), COMPOSITE_CALLS if op.kind == "composite" else 1
        why = "NumPy definition"
        return (Candidate("numpy", _rate(node, op, specs), ops, _moved(node, specs), calls, why=why),)

    def _decomposed(
        self, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
    ) -> Sequence[Candidate]:
        """A composite without a reference is decomposed when the graph is lowered, or when it runs."""
        op = find(node.op)
        if op is None or op.decompose is None:
            return ()
        try:
            decompose_node(node, op, specs, constants)
        except WalleError:  # shapes are not known yet
            ops = operations(node, specs, constants)
            return (Candidate("decomposition", "elementwise", ops, _moved(node, specs)),)
        return ()

    def prepare(
        self, graph: Graph, choices: Mapping[str, Candidate], threads: int, precision: str
    ) -> ReferenceExecutable:
        """Binds attributes and converts constants. Raises BackendError if NumPy is missing, UnsupportedError for a
        node that nothing defines. `threads` and `precision` have no influence on the references.
        """
        if not self.devices():
            raise BackendError("the reference backend needs NumPy; install it with: pip install numpy")
        return ReferenceExecutable(graph, choices, Interpreter(graph))

    def calibrate(self, device: Device, threads: int, progress: Callable[[str], None]) -> DeviceRates:
        """Measures matrix product, elementwise rate, bandwidth and cost per node in about one second."""
        progress("matrix product")
        a = np.ones((384, 384), np.float32)
        gemm = 2 * 384**3 / _best(lambda: a @ a, 0.2)
        progress("convolution")
        image = np.ones((1, 64, 28, 28), np.float32)
        filters, own = np.ones((64, 64, 3, 3), np.float32), np.ones((64, 1, 3, 3), np.float32)
        convolve = functools.partial(conv, image, pads=(1, 1, 1, 1))
        convolution = 2.0 * image.size * filters[0].size / _best(lambda: convolve(filters), 0.1)
        depthwise = 2.0 * image.size * own[0].size / _best(lambda: convolve(own, group=64), 0.1)
        progress("elementwise")
        x = np.full(16384, 0.5, np.float32)
        elementwise = x.size / _best(lambda: np.exp(x), 0.1)
        progress("bandwidth")
        levels = []
        for nbytes in (1 << 17, 1 << 20, 1 << 26):
            source, target = np.ones(nbytes // 8, np.float32), np.empty(nbytes // 8, np.float32)
            limit = float("inf") if nbytes == 1 << 26 else float(4 * nbytes)
            levels.append((limit, nbytes / _best(functools.partial(np.copyto, target, source), 0.1)))
        progress("cost per node")
        names = [f"v{i}" for i in range(65)]
        chain = tuple(Node("Neg", (i,), (o,), {}, o) for i, o in zip(names, names[1:], strict=False))
        run = Interpreter(Graph(("v0",), (names[-1],), chain)).run
        one = {"v0": np.ones(1, np.float32)}
        dispatch = _best(lambda: run(one), 0.1) / len(chain)
        rates = {
            "gemm": gemm, "convolution": convolution, "depthwise": depthwise, "elementwise": elementwise,
        }  # fmt: skip
        return DeviceRates(rates, tuple(levels), dispatch, CALL_S)


def _rate(node: Node, op: OpDef, specs: Mapping[str, TensorSpec]) -> str:
    """The rate class of a reference: convolutions copy their windows, and depthwise ones use no matrix product."""
    if op.family not in GEMM_FAMILIES:
        return "elementwise"
    weight = specs.get(node.inputs[1]) if op.family == "convolution" and len(node.inputs) > 1 else None
    if weight is None or not weight.static or len(weight.sizes) < 3:
        return "gemm"
    if node.op not in ("Conv", "FusedConv"):  # transposed and deformable ones go window by window
        return "depthwise"
    if weight.sizes[1] == 1 and int(node.attrs.get("group", 1)) > 1:
        return "depthwise"
    return "convolution" if any(k > 1 for k in weight.sizes[2:]) else "gemm"


def _best(fn: Callable[[], Any], budget_s: float) -> float:
    """Shortest time of one call in seconds, over repetitions within a budget."""
    fn()
    best, end = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < end:
        start = time.perf_counter()
        fn()
        best = min(best, time.perf_counter() - start)
    return max(best, 1e-9)


def _static(names: Sequence[str], specs: Mapping[str, TensorSpec]) -> Iterator[TensorSpec]:
    return (s for n in names if n and (s := specs.get(n)) is not None and s.static)


def _moved(node: Node, specs: Mapping[str, TensorSpec]) -> float:
    return float(sum(s.nbytes for s in _static((*node.inputs, *node.outputs), specs)))
