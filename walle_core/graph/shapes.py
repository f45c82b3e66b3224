"""Shape and dtype inference from the operator definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import ShapeError, WalleError
from walle_core.graph.ir import Graph, Node
from walle_core.ops import find
from walle_core.ops.define import OpContext, OpDef
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype


def context(
    node: Node, op: OpDef, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> OpContext | None:
    """The node as its definition sees it; None if the spec of an input is not known or not static."""
    inputs: list[TensorSpec | None] = []
    for name in node.inputs:
        spec = specs.get(name) if name else None
        if name and (spec is None or not spec.static):
            return None
        inputs.append(spec)
    while len(inputs) < op.required:
        inputs.append(None)
    if any(s is None for s in inputs[: op.required]):
        raise ShapeError(
            f"node {node}: needs {op.required} inputs ({', '.join(op.input_names)}), has {node.inputs}"
        )
    values = tuple(constants.get(n) if n else None for n in node.inputs)
    return OpContext(op.name, node.name, tuple(inputs), op.bind(node.attrs), values, len(node.outputs))


def infer_node(
    node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[TensorSpec] | None:
    """Output specs of one node, or None when they cannot be known before it runs.

    Raises ShapeError (naming the node) if the operands do not fit the operator.
    """
    op = find(node.op)
    if op is None or op.kind == "control":
        return None
    with naming(node):
        ctx = context(node, op, specs, constants)
        if ctx is None:
            return None
        found = None
        if op.infer is not None:
            found = op.infer(ctx)
        elif op.decompose is not None:
            found = _by_decomposition(node, op, specs, constants)
        if found is not None and any(node.outputs[len(found) :]):
            raise ctx.error(f"makes {len(found)} outputs, but {len(node.outputs)} are named")
    return found


class naming:  # noqa: N801 - read as a statement: with naming(node)
    """Whatever an operator's definition raises becomes a WalleError that names the node."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        node = self.node
        if isinstance(error, WalleError):
            if repr(node.name) not in str(error):
                raise type(error)(f"node {node}: {error}") from error
        elif isinstance(error, (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)):
            raise ShapeError(
                f"node {node}: operands or attributes do not fit the operator ({error})"
            ) from error


def _by_decomposition(
    node: Node, op: OpDef, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[TensorSpec] | None:
    from walle_core.graph.decompose import decompose_node

    part = decompose_node(node, op, specs, constants)
    found = [part.specs.get(name) for name in part.results]
    return None if any(s is None for s in found) else found  # type: ignore[return-value]


def with_constants(graph: Graph) -> Graph:
    """The graph with the specs of its constants, which a frontend may leave out."""
    specs = dict(graph.specs)
    for name, value in graph.constants.items():
        if name not in specs and isinstance(value, Tensor):
            specs[name] = TensorSpec(as_dtype(value.dtype), value.shape)
    return graph.evolve(specs=specs)


def infer(graph: Graph) -> Graph:
    """The graph with the specs of all values that can be known."""
    specs = dict(graph.specs)
    for node in graph.nodes:
        for name, spec in zip(node.outputs, infer_node(node, specs, graph.constants) or (), strict=False):
            if name:
                specs[name] = spec
    return graph.evolve(specs=specs)


def operations(node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]) -> float:
    """Elementary operations of a node by its operator's own rule, else one per output element."""
    op = find(node.op)
    outputs = [s for n in node.outputs if n and (s := specs.get(n)) is not None]
    try:
        outputs = outputs or list(infer_node(node, specs, constants) or ())
        ctx = context(node, op, specs, constants) if op is not None else None
        if op is not None and op.flops is not None and ctx is not None and outputs:
            return float(op.flops(ctx, outputs))
    except (WalleError, ValueError, TypeError, IndexError, KeyError):
        outputs = []
    made = float(sum(s.size for s in outputs if s.static))
    return made or float(
        sum(s.size for n in node.inputs if n and (s := specs.get(n)) is not None and s.static)
    )
