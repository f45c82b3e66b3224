"""Builder: appends nodes to a graph and knows the spec of every value; decompositions and tests write with it.

g = Builder()
x = g.input("x", "float32", (1, 3))
y = g.Softmax(g.Add(x, g.const(1.0)), axis=-1)
graph = g.graph([y])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import ModelError, ShapeError
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer_node
from walle_core.ops import find
from walle_core.types import DType, TensorSpec
from walle_core.types import dtype as as_dtype


class Builder:
    """Grows a graph node by node, inferring specs as it goes.

    Args:
        prefix: starts the names of values and nodes made here.
        specs: specs of values that exist already.
        constants: constants that exist already.
    """

    def __init__(
        self,
        prefix: str = "",
        specs: Mapping[str, TensorSpec] | None = None,
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        self.prefix = prefix
        self.specs: dict[str, TensorSpec] = dict(specs or {})
        self.constants: dict[str, Any] = dict(constants or {})
        self.new_constants: dict[str, Any] = {}
        self.nodes: list[Node] = []
        self.inputs: list[str] = []
        self.n_outputs = 1  # of the node being decomposed
        self._count = 0

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{self.prefix}{stem}.{self._count}"

    def input(self, name: str, dtype: str | DType, shape: Sequence[int | str]) -> str:
        """Declares a graph input and returns its name."""
        self.inputs.append(name)
        self.specs[name] = TensorSpec(as_dtype(dtype), tuple(shape))
        return name

    def const(self, value: Any, dtype: str | DType = "float32", like: str | None = None) -> str:
        """Adds a constant from a number, nested list, Tensor or array; `like` takes the dtype of a value."""
        if like is not None:
            dtype = self.specs[like].dtype
        tensor = value if isinstance(value, Tensor) else Tensor.of(value, as_dtype(dtype).name)
        name = self._fresh("const")
        self.constants[name] = self.new_constants[name] = tensor
        self.specs[name] = TensorSpec(as_dtype(tensor.dtype), tuple(tensor.shape))
        return name

    def spec(self, name: str) -> TensorSpec:
        """Spec of a value. Raises ShapeError if it is not known."""
        try:
            return self.specs[name]
        except KeyError:
            raise ShapeError(f"shape of {name!r} is not known") from None

    def shape(self, name: str) -> tuple[int, ...]:
        """Sizes of a value whose shape is static."""
        return self.spec(name).sizes

    def dtype(self, name: str) -> DType:
        """Dtype of a value."""
        return self.spec(name).dtype

    def ints(self, name: str) -> list[int]:
        """A constant value as a flat list of integers. Raises ShapeError if it is not constant."""
        if name not in self.constants:
            raise ShapeError(f"{name!r} must be constant here")
        value = self.constants[name].reshape(-1).tolist()
        return [int(v) for v in value]

    def op(
        self, op: str, *inputs: str | None, outputs: int | Sequence[str] = 1, name: str = "", **attrs: Any
    ) -> Any:
        """Appends a node; returns its output name, or a tuple of names when `outputs` is not 1."""
        operands = [i or "" for i in inputs]
        while operands and not operands[-1]:
            operands.pop()
        count = outputs if isinstance(outputs, int) else len(outputs)
        names = tuple(self._fresh(op) for _ in range(count)) if isinstance(outputs, int) else tuple(outputs)
        attrs = {k: tuple(v) if isinstance(v, list) else v for k, v in attrs.items() if v is not None}
        node = Node(op, tuple(operands), names, attrs, name or (names[0] if names[0] else self._fresh(op)))
        for out, spec in zip(names, infer_node(node, self.specs, self.constants) or (), strict=False):
            if out:
                self.specs[out] = spec
        self.nodes.append(node)
        return names[0] if outputs == 1 else names

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if op.startswith("_") or find(op) is None:
            raise AttributeError(f"no operator {op!r} in the catalogue")
        return lambda *inputs, **attrs: self.op(op, *inputs, **attrs)

    def graph(self, outputs: Sequence[str], name: str = "graph") -> Graph:
        """The finished graph."""
        if unknown := [
            o for o in outputs if o not in self.specs and not any(o in n.outputs for n in self.nodes)
        ]:
            raise ModelError(f"output {unknown[0]!r} was never made")
        return Graph(tuple(self.inputs), tuple(outputs), tuple(self.nodes), self.constants, self.specs, name)
