"""Channels-last layout: image operators run on [N, ..., C], everything between them follows, transposes stay only at the edges.

A value may exist in its own order (channels second) and in channels-last order; each is made at most once and only if
some node reads it so. What remains are Transpose nodes, which become rasters and merge with their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer_node
from walle_core.ops import find
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

IMAGE_OPS = {"Conv": "FusedConv", "FusedConv": "FusedConv", "MaxPool": "MaxPool", "AveragePool": "AveragePool",
             "GlobalAveragePool": "GlobalAveragePool", "GlobalMaxPool": "GlobalMaxPool",
             "QuantizedConv": "QuantizedConv", "QuantizedGlobalAveragePool": "QuantizedGlobalAveragePool"}  # fmt: skip
IMAGE_DTYPES = {"QuantizedConv": ("int8", "uint8"), "QuantizedGlobalAveragePool": ("int8", "uint8"),
                "MaxPool": ("float32", "int8", "uint8")}  # fmt: skip
PER_ELEMENT = {"Clip", "QuantizedAdd"}  # beside the elementwise families
PER_TENSOR = {"QuantizeLinear", "DequantizeLinear", "Lookup"}  # of the first input; the others are parameters
AXIS_ATTRIBUTE = {"Concat", "Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "Split"}
REDUCTIONS = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceL1"}


def to_last(rank: int) -> tuple[int, ...]:
    """The permutation from channels second to channels last."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """The permutation from channels last to channels second."""
    return (0, rank - 1, *range(1, rank - 1))


def _permuted(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(spec.dtype, tuple(spec.sizes[i] for i in to_last(len(spec.sizes))))


@attrs.define
class _Pass:
    graph: Graph
    supported: Callable[[Node, Any, Any], bool]
    nodes: list[Node] = attrs.field(factory=list)
    specs: dict[str, TensorSpec] = attrs.field(init=False)
    constants: dict[str, Any] = attrs.field(init=False)
    last: dict[str, str] = attrs.field(factory=dict)  # value -> its channels-last twin
    first: set[str] = attrs.field(factory=set)  # values that exist in their own order

    def __attrs_post_init__(self) -> None:
        self.specs, self.constants = dict(self.graph.specs), dict(self.graph.constants)
        self.first = {*self.graph.inputs, *self.constants}

    def rank(self, value: str) -> int:
        spec = self.specs.get(value)
        return len(spec.shape) if spec is not None and spec.static and spec.shape is not None else -1

    def transpose(self, source: str, out: str, perm: tuple[int, ...]) -> None:
        self.nodes.append(Node("Transpose", (source,), (out,), {"perm": perm}, f"{out}/transpose"))

    def get_last(self, value: str) -> str:
        """The channels-last twin of a value, made on demand."""
        if value not in self.last:
            twin = f"{value}@last"
            self.transpose(value, twin, to_last(self.rank(value)))
            self.specs[twin] = _permuted(self.specs[value])
            self.last[value] = twin
        return self.last[value]

    def get_first(self, value: str) -> str:
        """The value in its own order, made on demand."""
        if value and value not in self.first:
            self.transpose(self.last[value], value, to_first(self.rank(value)))
            self.first.add(value)
        return value

    def number(self, values: list[int]) -> str:
        name = f"layout/axes.{len(self.constants)}"
        self.constants[name] = Tensor.of(values, "int64")
        self.specs[name] = TensorSpec(as_dtype("int64"), (len(values),))
        self.first.add(name)
        return name

    def emit_last(self, node: Node) -> bool:
        """Appends a node that makes channels-last twins, if its shapes work out."""
        outputs = tuple(f"{o}@last" if o else "" for o in node.outputs)
        made = node.evolve(outputs=outputs)
        specs = infer_node(made, self.specs, self.constants)
        if specs is None:
            return False
        for out, twin, spec in zip(node.outputs, outputs, specs, strict=False):
            if out:
                self.specs[twin] = spec
                self.last[out] = twin
                if out not in self.specs and spec.static:
                    self.specs[out] = TensorSpec(
                        spec.dtype, tuple(spec.sizes[i] for i in to_first(len(spec.sizes)))
                    )
        self.nodes.append(made)
        return True

    def image(self, node: Node) -> bool:
        """Runs an image operator channels-last where the backend can."""
        rank = self.rank(node.inputs[0])
        placed = node.attrs.get("layout", "NCHW") != "NCHW"
        if (
            placed
            or rank not in (3, 4)
            or any(node.outputs[1:])
            or self.specs[node.inputs[0]].dtype.name not in IMAGE_DTYPES.get(node.op, ("float32",))
        ):
            return False
        probe = node.evolve(op=IMAGE_OPS[node.op], attrs={**node.attrs, "layout": "NHWC"})
        residual = [3] if node.op in ("Conv", "FusedConv") and len(node.inputs) > 3 and node.inputs[3] else []
        twins = {node.inputs[i]: f"{node.inputs[i]}@last" for i in (0, *residual)}
        inputs = [twins[n] if i in (0, *residual) else n for i, n in enumerate(node.inputs)]
        seen = {**self.specs, **{t: _permuted(self.specs[v]) for v, t in twins.items()}}
        probe = probe.evolve(inputs=tuple(inputs), outputs=(f"{node.outputs[0]}@last",))
        found = infer_node(probe, seen, self.constants)
        if found is None or not self.supported(probe, {**seen, probe.outputs[0]: found[0]}, self.constants):
            return False
        for i in (0, *residual):
            inputs[i] = self.get_last(node.inputs[i])
        for i in range(1, len(inputs)):
            if i not in residual:
                self.get_first(inputs[i])
        return self.emit_last(probe.evolve(inputs=tuple(inputs), outputs=node.outputs))

    def elementwise(self, node: Node) -> bool:
        """Follows its inputs, when all full operands have (or cheaply get) a channels-last twin."""
        ranks = [self.rank(n) for n in node.inputs if n]
        rank = max(ranks, default=-1)
        full = [n for n in node.inputs if n and self.rank(n) == rank]
        if rank not in (3, 4) or not any(n in self.last and n not in self.constants for n in full):
            return False
        inputs = []
        for n in node.inputs:
            if not n or (self.specs[n].size == 1 and n in self.constants):
                inputs.append(n)
            elif self.rank(n) == rank:
                inputs.append(self.get_last(n))
            elif n in self.constants and self.rank(n) >= 0:
                inputs.append(self.lifted(n, rank))
            else:
                return False
        return self.emit_last(node.evolve(inputs=tuple(inputs)))

    def lifted(self, name: str, rank: int) -> str:
        """A constant of lower rank, reshaped to `rank` and permuted to channels last."""
        sizes = self.specs[name].sizes
        wide = f"{name}@rank{rank}"
        if wide not in self.specs:
            self.constants[wide] = self.constants[name].reshape((1,) * (rank - len(sizes)) + sizes)
            self.specs[wide] = TensorSpec(self.specs[name].dtype, (1,) * (rank - len(sizes)) + sizes)
            self.first.add(wide)
        return self.get_last(wide)

    def per_tensor(self, node: Node) -> bool:
        """Follows its first input, where its scale and zero point are single numbers."""
        value = node.inputs[0]
        sizes = [self.specs[n].size for n in node.inputs[1:] if n]
        if (
            self.rank(value) not in (3, 4)
            or value not in self.last
            or (node.op != "Lookup" and max(sizes) > 1)
        ):
            return False
        inputs = (self.get_last(value), *(self.get_first(n) for n in node.inputs[1:]))
        return self.emit_last(node.evolve(inputs=inputs))

    def along_axis(self, node: Node) -> bool:
        """Concat, Split, Softmax and the like: the axis moves with the layout."""
        data = [n for n in node.inputs if n] if node.op == "Concat" else [node.inputs[0]]
        rank = self.rank(data[0])
        if rank not in (3, 4) or not any(n in self.last for n in data):
            return False
        if node.op.startswith("Arg") and not node.attrs.get("keepdims", 1):
            return False
        op = find(node.op)
        axis = int(node.attrs.get("axis", op.params.get("axis", 0) if op else 0)) % rank
        inputs = [self.get_last(n) if n in data else self.get_first(n) for n in node.inputs]
        attributes = {**node.attrs, "axis": to_last(rank).index(axis)}
        return self.emit_last(node.evolve(inputs=tuple(inputs), attrs=attributes))

    def reduction(self, node: Node) -> bool:
        """A reduction that keeps its dimensions, over constant axes."""
        rank = self.rank(node.inputs[0])
        axes = self.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if (
            rank not in (3, 4)
            or node.inputs[0] not in self.last
            or axes is None
            or not node.attrs.get("keepdims", 1)
        ):
            return False
        moved = [to_last(rank).index(int(a) % rank) for a in axes.reshape(-1).tolist()]
        inputs = (self.get_last(node.inputs[0]), self.number(sorted(moved)))
        return bool(moved) and self.emit_last(node.evolve(inputs=inputs))

    def slices(self, node: Node) -> bool:
        """Slice and Pad with constant bounds, given for every axis."""
        value = node.inputs[0]
        rank = self.rank(value)
        if (
            rank not in (3, 4)
            or value not in self.last
            or any(n not in self.constants for n in node.inputs[1:] if n)
        ):
            return False
        names = [*node.inputs, "", "", "", ""]
        inputs = [self.get_last(value), *node.inputs[1:]]
        if node.op == "Slice":
            if not names[3]:
                return False
            axes = [to_last(rank).index(int(a) % rank) for a in self.constants[names[3]].reshape(-1).tolist()]
            inputs[3] = self.number(axes)
        else:
            if names[3]:
                return False
            pads = [int(p) for p in self.constants[names[1]].reshape(-1).tolist()]
            order = to_last(rank)
            inputs[1] = self.number([pads[i] for i in order] + [pads[rank + i] for i in order])
        return self.emit_last(node.evolve(inputs=tuple(inputs)))

    def visit(self, node: Node) -> bool:
        if node.op in IMAGE_OPS:
            return self.image(node)
        if any(not n or self.rank(n) < 0 for n in node.outputs) or any(
            n and self.rank(n) < 0 for n in node.inputs
        ):
            return False
        op = find(node.op)
        if node.op in AXIS_ATTRIBUTE:
            return self.along_axis(node)
        if node.op in REDUCTIONS:
            return self.reduction(node)
        if node.op in ("Slice", "Pad"):
            return self.slices(node)
        if node.op in PER_TENSOR:
            return self.per_tensor(node)
        if (
            op is not None and op.family in ("unary", "binary", "ternary", "activation")
        ) or node.op in PER_ELEMENT:
            return self.elementwise(node)
        return False


def channels_last(graph: Graph, supported: Callable[[Node, Any, Any], bool]) -> Graph:
    """Rewrites a graph with static specs to channels-last wherever `supported(node, specs, constants)` says yes."""
    work = _Pass(graph, supported)
    for node in graph.nodes:
        if not work.visit(node):
            work.nodes.append(node.evolve(inputs=tuple(work.get_first(n) for n in node.inputs)))
            work.first.update(o for o in node.outputs if o)
    for out in graph.outputs:
        work.get_first(out)
    return graph.evolve(nodes=tuple(work.nodes), specs=work.specs, constants=work.constants).pruned()
