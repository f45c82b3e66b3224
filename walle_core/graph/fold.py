"""Constant folding: what follows from constants and static shapes is computed once, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import WalleError
from walle_core.graph.ir import Graph, Node, captured, subgraphs
from walle_core.graph.shapes import infer_node
from walle_core.ops import find
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

Evaluate = Callable[[Node, Sequence[Any]], Sequence[Any] | None]

MAX_FOLDED_BYTES = 64 << 20  # a folded result may be larger than its inputs up to here
# results whose sizes are known only from the data, but never exceed a small multiple of the inputs' bytes
_BOUNDED = frozenset(("NonZero", "Compress", "Unique", "StringNormalizer", "StringConcat", "RegexFullMatch"))


def fold(
    graph: Graph,
    evaluate: Evaluate,
    limit: int = MAX_FOLDED_BYTES,
    keep: Callable[[Node], bool] | None = None,
) -> Graph:
    """The graph without nodes whose outputs are known, without Identity, and without what no output needs.

    Shapes are inferred on the way wherever an input has become constant, so that chains of Shape, Gather, Concat and
    Reshape vanish. An output of the graph that is known becomes a constant of that name.

    Args:
        graph: specs as `shapes.infer` leaves them.
        evaluate: computes one node from constant inputs (None where absent); returns None if it cannot.
        limit: bytes that a result may take unless its inputs take more.
        keep: nodes that must stay although they could be computed.

    Raises:
        ShapeError: operands do not fit an operator.
    """
    return _Folder(graph, evaluate, limit, keep).run()


class _Folder:
    def __init__(
        self, graph: Graph, evaluate: Evaluate, limit: int, keep: Callable[[Node], bool] | None
    ) -> None:
        self.graph, self.evaluate, self.limit, self.keep = graph, evaluate, limit, keep
        self.constants: dict[str, Any] = dict(graph.constants)
        self.specs: dict[str, TensorSpec] = dict(graph.specs)
        self.alias: dict[str, str] = {}
        self.changed: set[str] = set()
        for name in self.constants.keys() - self.specs.keys():
            self._define(name, self.constants[name])
        self.pinned = set(graph.outputs).union(*(captured(n) for n in graph.nodes))
        self.read = {i for n in graph.nodes for i in n.inputs} | self.pinned

    def run(self) -> Graph:
        nodes = []
        for node in self.graph.nodes:
            if self.alias and any(n in self.alias for n in node.inputs):
                node = node.evolve(inputs=tuple(self.alias.get(n, n) for n in node.inputs))
            if not self._vanishes(node):
                nodes.append(node)
        return self.graph.evolve(nodes=tuple(nodes), constants=self.constants, specs=self.specs).pruned()

    def _vanishes(self, node: Node) -> bool:
        """True if the node is not needed any more; its outputs are then constants or aliases."""
        self._infer(node)
        if self.keep is not None and self.keep(node):
            return False
        if self._passes_through(node):
            source, out = node.inputs[0], node.outputs[0]
            if source in self.constants:
                self._define(out, self.constants[source])
                return True
            if source in self.specs:
                self.specs[out] = self.specs[source]
            if out not in self.pinned:
                self.alias[out] = source
                return True
            return False
        made: Sequence[Any] | None = self._from_shape(node)
        if made is None:
            made = self._computed(node)
        if made is None:
            return False
        for out, value in zip(node.outputs, made, strict=False):
            if out:
                self._define(out, value)
        return True

    def _define(self, name: str, value: Any) -> None:
        self.constants[name] = value
        self.specs[name] = TensorSpec(as_dtype(str(value.dtype)), tuple(value.shape))
        self.changed.add(name)

    def _infer(self, node: Node) -> None:
        known = all(o in self.specs and self.specs[o].static for o in node.outputs if o)
        if known and not self.changed.intersection(node.inputs):
            return
        for out, spec in zip(node.outputs, infer_node(node, self.specs, self.constants) or (), strict=False):
            if out and self.specs.get(out) != spec:
                self.specs[out] = spec
                self.changed.add(out)

    def _passes_through(self, node: Node) -> bool:
        """True if the first output is the first input."""
        if not node.inputs or not node.inputs[0] or not node.outputs[0]:
            return False
        if node.op == "Identity":
            return True
        if node.op == "Dropout":
            training = node.inputs[2] if len(node.inputs) > 2 else ""
            off = not training or (training in self.constants and not any(_flat(self.constants[training])))
            return off and not any(o in self.read for o in node.outputs[1:] if o)
        if node.op in ("Cast", "CastLike"):
            before, after = self.specs.get(node.inputs[0]), self.specs.get(node.outputs[0])
            return before is not None and after is not None and before.dtype == after.dtype
        return False

    def _from_shape(self, node: Node) -> list[Any] | None:
        """Shape and Size, which follow from the spec of an input that is not constant itself."""
        if node.op not in ("Shape", "Size"):
            return None
        spec = self.specs.get(node.inputs[0]) if node.inputs else None
        if spec is None or spec.shape is None:
            return None
        if node.op == "Size":
            return [Tensor.of(spec.size, "int64")] if spec.static else None
        dims = spec.shape[slice(_bound(node.attrs.get("start", 0)), _bound(node.attrs.get("end")))]
        return [Tensor.of(list(dims), "int64")] if all(isinstance(d, int) for d in dims) else None

    def _computed(self, node: Node) -> Sequence[Any] | None:
        op = find(node.op)
        if op is None or op.kind == "control" or not op.deterministic or subgraphs(node):
            return None
        if op.name == "CastLike":
            return self._cast_like(node)
        if any(n and n not in self.constants for n in node.inputs) or not self._affordable(node):
            return None
        inputs = [self.constants[n] if n else None for n in node.inputs]
        return self._evaluated(node, inputs)

    def _evaluated(self, node: Node, inputs: Sequence[Any]) -> Sequence[Any] | None:
        try:
            made = self.evaluate(node, inputs)
        except WalleError:  # the node may never run; if it does, the run reports what is wrong
            return None
        if made is None or any(
            o and not hasattr(v, "dtype") for o, v in zip(node.outputs, made, strict=False)
        ):
            return None
        return made

    def _cast_like(self, node: Node) -> Sequence[Any] | None:
        """CastLike reads only the dtype of its second operand, which need not be constant."""
        target = self.specs.get(node.inputs[1]) if len(node.inputs) > 1 else None
        value = self.constants.get(node.inputs[0])
        if target is None or value is None or target.dtype.kind == "s" or not self._affordable(node):
            return None
        like = Tensor([1], target.dtype.name)
        return self._evaluated(node, [value, like])

    def _affordable(self, node: Node) -> bool:
        needed = 0
        for out in node.outputs:
            spec = self.specs.get(out) if out else None
            if out and (spec is None or not spec.static):
                return node.op in _BOUNDED
            needed += spec.nbytes if spec is not None else 0
        return needed <= self.limit or needed <= sum(
            _nbytes(self.constants[n]) for n in set(node.inputs) if n
        )


def _nbytes(value: Any) -> int:
    return int(getattr(value, "nbytes", 0))


def _flat(value: Any) -> list[Any]:
    flat = value.reshape(-1).tolist()
    return flat if isinstance(flat, list) else [flat]


def _bound(value: Any) -> int | None:
    return None if value is None else int(value)
