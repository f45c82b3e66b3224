"""Scope: the graph that is being built from a GraphProto, and what is known about its values on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from walle_core.errors import ModelError
from walle_core.graph.ir import Node
from walle_core.types import DTYPES, DType, TensorSpec

# operators whose first output has the dtype of their first input
_SAME_DTYPE = {
    "Abs", "Acos", "Add", "AveragePool", "BatchNormalization", "Ceil", "Celu", "Clip", "Concat", "Conv",
    "ConvTranspose", "Cos", "DepthToSpace", "Div", "Dropout", "Elu", "Erf", "Exp", "Expand", "Flatten", "Floor",
    "Gather", "Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "HardSigmoid", "HardSwish",
    "Hardmax", "Identity", "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax",
    "LpNormalization", "LpPool", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow",
    "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu",
    "Reshape", "Resize", "Round", "ScatterElements", "Selu", "Sigmoid", "Sign", "Sin", "Slice", "Softmax",
    "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "Tile",
    "Transpose", "Unsqueeze", "Upsample",
}  # fmt: skip


@attrs.define(eq=False)
class Frame:
    """How names and operators are read in one part of the file: the main graph, or the body of one function call.

    Attributes:
        opsets: domain -> version.
        where: for messages.
        prefix: starts the names of values made in a function body.
        mapping: formal inputs and outputs of the function -> values of the caller.
        attributes: values bound to the function's attributes; None outside functions.
        depth: nesting so far.
    """

    opsets: Mapping[str, int]
    where: str
    prefix: str = ""
    mapping: Mapping[str, str] = attrs.field(factory=dict)
    attributes: Mapping[str, Any] | None = None
    depth: int = 0

    def resolve(self, name: str) -> str:
        """The name of a value in the Graph."""
        if not name or self.attributes is None:
            return name
        found = self.mapping.get(name)
        return self.prefix + name if found is None else found


class Scope:
    """Collects nodes, constants and specs of one Graph.

    Args:
        where: for messages.
        parent: the scope around a subgraph.
        admit: called with every node before it is kept; raises for operators that are not known.
    """

    def __init__(self, where: str, parent: Scope | None, admit: Callable[[Node], None]) -> None:
        self.where = where
        self.parent = parent
        self.admit = admit
        self.nodes: list[Node] = []
        self.constants: dict[str, Any] = {}
        self.specs: dict[str, TensorSpec] = {}
        self.dtypes: dict[str, DType] = {}
        self._count = 0

    def add(self, node: Node) -> None:
        """Appends a node."""
        self.admit(node)
        self.nodes.append(node)
        if not node.outputs or not node.inputs:
            return
        if node.op in _SAME_DTYPE:
            known = self.dtype(node.inputs[0])
            if known is not None:
                self.dtypes[node.outputs[0]] = known

    def add_constant(self, name: str, value: Any) -> None:
        """Adds a constant. Raises ModelError if the name is taken."""
        if name in self.constants:
            raise ModelError(f"{self.where}: value {name!r} is defined twice")
        self.constants[name] = value
        self.specs[name] = TensorSpec(DTYPES[str(value.dtype)], tuple(value.shape))

    def fresh(self, stem: str) -> str:
        """A name that no file uses by accident."""
        self._count += 1
        return f"{stem}#{self._count}"

    def spec(self, name: str) -> TensorSpec | None:
        """What is known about a value here or in the scopes around."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.specs:
                return scope.specs[name]
            scope = scope.parent
        return None

    def dtype(self, name: str) -> DType | None:
        """The dtype of a value where it is known."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.specs:
                return scope.specs[name].dtype
            if name in scope.dtypes:
                return scope.dtypes[name]
            scope = scope.parent
        return None

    def rank(self, name: str) -> int | None:
        """Number of dimensions of a value where it is known."""
        spec = self.spec(name)
        return None if spec is None or spec.shape is None else len(spec.shape)

    def constant(self, name: str) -> Any | None:
        """Value of a constant; None for everything else."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.constants:
                return scope.constants[name]
            scope = scope.parent
        return None

    def known(self, inputs: Sequence[str]) -> set[str]:
        """Names that need no node of this graph."""
        return {*inputs, *self.constants}
