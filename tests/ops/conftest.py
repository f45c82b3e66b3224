"""Runs one operator the ways the tests compare: by its reference, and as the parts it is written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from walle_core.backends.arrays import spec_of, to_tensor
from walle_core.backends.interpreter import evaluate
from walle_core.graph.decompose import decompose
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer_node
from walle_core.ops import find
from walle_core.types import TensorSpec


class Operators:
    """Calls operators of the catalogue on NumPy arrays. Integer lists among the operands are constants."""

    def node(
        self, op: str, operands: Sequence[Any], outputs: int, attributes: Mapping[str, Any]
    ) -> tuple[Graph, dict[str, np.ndarray]]:
        names = tuple("" if v is None else f"x{i}" for i, v in enumerate(operands))
        constants = {
            n: to_tensor(np.asarray(v, np.int64))
            for n, v in zip(names, operands, strict=False)
            if isinstance(v, list)
        }
        feeds = {n: v for n, v in zip(names, operands, strict=False) if n and n not in constants}
        specs = {n: spec_of(np.asarray(v)) for n, v in {**feeds, **constants}.items()}
        node = Node(op, names, tuple(f"y{i}" for i in range(outputs)), dict(attributes), "node")
        return Graph(tuple(feeds), node.outputs, (node,), constants, specs), feeds

    def reference(self, op: str, *operands: Any, outputs: int = 1, **attributes: Any) -> list[np.ndarray]:
        """Results of the NumPy reference; their specs must be those that the shape rule infers."""
        graph, feeds = self.node(op, operands, outputs, attributes)
        made = evaluate(graph, feeds)
        for spec, value in zip(self.infer(op, *operands, outputs=outputs, **attributes), made, strict=False):
            assert spec == spec_of(value), f"{op}: the shape rule says {spec}"
        return made

    def parts(self, op: str, *operands: Any, outputs: int = 1, **attributes: Any) -> list[np.ndarray]:
        """Results of the decomposition into atomic operators and transforms, nothing kept whole."""
        return parts_of(*self.node(op, operands, outputs, attributes))

    def infer(self, op: str, *operands: Any, outputs: int = 1, **attributes: Any) -> list[TensorSpec]:
        """What the shape rule says. An operand may also be a TensorSpec."""
        specs = {
            f"x{i}": v
            if isinstance(v, TensorSpec)
            else spec_of(np.asarray(v, np.int64 if isinstance(v, list) else None))
            for i, v in enumerate(operands)
            if v is not None
        }
        constants = {
            f"x{i}": to_tensor(np.asarray(v, np.int64)) for i, v in enumerate(operands) if isinstance(v, list)
        }
        names = tuple("" if v is None else f"x{i}" for i, v in enumerate(operands))
        outs = tuple(f"y{i}" for i in range(outputs))
        return list(infer_node(Node(op, names, outs, dict(attributes), "node"), specs, constants) or [])

    def agree(
        self, op: str, *operands: Any, outputs: int = 1, ulp: float = 64, **attributes: Any
    ) -> list[np.ndarray]:
        """Asserts that reference and decomposition give the same; returns the reference's results."""
        wanted = self.reference(op, *operands, outputs=outputs, **attributes)
        for want, got in zip(wanted, self.parts(op, *operands, outputs=outputs, **attributes), strict=True):
            close(got, want, ulp)
        return wanted


def parts_of(graph: Graph, feeds: Mapping[str, Any]) -> list[np.ndarray]:
    """Results of a graph of one node after decomposition."""
    lowered = decompose(graph, lambda *_: False).pruned()
    for node in lowered.nodes:
        assert find(node.op).kind in ("atomic", "transform"), (
            f"{node} is left in the decomposition of {graph.nodes[0]}"
        )
    return evaluate(lowered, feeds)


def close(got: np.ndarray, want: np.ndarray, ulp: float = 64) -> None:
    """Same dtype and shape, and values within `ulp` units in the last place of the result's scale."""
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    finite = np.abs(want[np.isfinite(want)])
    scale = float(finite.max()) if finite.size else 1.0
    np.testing.assert_allclose(got, want, rtol=0, atol=ulp * np.finfo(want.dtype).eps * max(scale, 1e-6))


@pytest.fixture(scope="session")
def ops() -> Operators:
    return Operators()


@pytest.fixture(scope="session")
def lowered() -> Any:
    return parts_of


@pytest.fixture(scope="session")
def near() -> Any:
    return close
