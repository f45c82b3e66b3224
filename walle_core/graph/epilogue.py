"""Fuses what follows a convolution or matrix product into it: scale, bias, residual, activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from walle_core.graph.ir import Graph, Node

HEADS = ("Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm")


def activation_of(node: Node, constants: Mapping[str, Any]) -> dict[str, Any] | None:
    """The node as activation attributes of a fused operator; None if it is no such activation."""
    a = node.attrs
    if node.op in ("Relu", "Sigmoid", "Tanh", "HardSwish"):
        return {"activation": node.op}
    if node.op == "LeakyRelu":
        return {"activation": "LeakyRelu", "act_alpha": float(a.get("alpha", 0.01))}
    if node.op == "Swish":
        return {"activation": "Swish", "act_alpha": float(a.get("alpha", 1.0))}
    if node.op == "Gelu" and a.get("approximate", "none") in ("none", b"none"):
        return {"activation": "Gelu"}
    if node.op == "Clip" and all(n in constants for n in node.inputs[1:] if n):
        low, high = (
            float(constants[n].reshape(()).tolist()) if n else default
            for n, default in zip((*node.inputs[1:], "", "")[:2], (float("-inf"), float("inf")), strict=True)
        )
        return {"activation": "Clip", "act_alpha": low, "act_beta": high}
    return None


@attrs.define
class _Fusion:
    graph: Graph
    uses: dict[str, list[Node]] = attrs.field(init=False)
    position: dict[str, int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.uses = self.graph.consumers()
        self.position = {n.name: i for i, n in enumerate(self.graph.nodes)}

    def follower(self, value: str) -> Node | None:
        """The only reader of a value that is not a graph output."""
        readers = self.uses.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self.graph.outputs else None

    def head(self, node: Node) -> Node | None:
        """The node as a fused operator without epilogue yet; None if it cannot start one."""
        specs = self.graph.specs
        if (
            any(n and (n not in specs or specs[n].dtype.name != "float32") for n in node.inputs)
            or not node.outputs[0]
        ):
            return None
        if node.op == "Conv":
            return node.evolve(op="FusedConv")
        if node.op == "MatMul":
            return node.evolve(op="FusedMatMul") if len(specs[node.inputs[1]].shape or ()) >= 2 else None
        if node.op == "Gemm":
            return self.gemm(node)
        return node if not node.attrs.get("activation") else None

    def gemm(self, node: Node) -> Node | None:
        a, shape = node.attrs, self.graph.specs[node.outputs[0]].shape
        bias = node.inputs[2] if len(node.inputs) > 2 else ""
        if bias and (float(a.get("beta", 1.0)) != 1.0 or not self.is_bias(bias, shape)):
            return None
        attributes = {k: a[k] for k in ("transA", "transB", "alpha") if k in a}
        return node.evolve(
            op="FusedMatMul", inputs=(*node.inputs[:2], *([bias] if bias else [])), attrs=attributes
        )

    def is_bias(self, name: str, shape: Any) -> bool:
        spec = self.graph.specs.get(name)
        return (
            spec is not None and spec.static and bool(shape) and spec.shape in ((shape[-1],), (1, shape[-1]))
        )

    def absorb(self, fused: Node, node: Node) -> Node | None:
        """`fused` with the effect of the node that follows it; None if it does not fit."""
        value, specs, constants = fused.outputs[0], self.graph.specs, self.graph.constants
        if (act := activation_of(node, constants)) is not None and node.inputs[0] == value:
            return fused.evolve(attrs={**fused.attrs, **act}, outputs=node.outputs)
        inputs = [*fused.inputs, "", "", ""][:4]
        matmul = fused.op == "FusedMatMul"
        others = [n for n in node.inputs if n != value]
        if len(others) != 1 or len(node.inputs) != 2 or others[0] not in specs:
            return None
        other, shape = others[0], specs[value].shape
        scalar = other in constants and specs[other].size == 1 and len(specs[other].sizes) <= len(shape or ())
        if matmul and scalar and (node.op == "Mul" or (node.op == "Div" and node.inputs[0] == value)):
            factor = float(constants[other].reshape(()).tolist())
            if inputs[2] or inputs[3] or (node.op == "Div" and factor == 0.0):
                return None
            alpha = float(fused.attrs.get("alpha", 1.0))
            alpha = alpha / factor if node.op == "Div" else alpha * factor
            return fused.evolve(attrs={**fused.attrs, "alpha": alpha}, outputs=node.outputs)
        if node.op != "Add" or specs[other].dtype.name != "float32":
            return None
        if matmul and not inputs[2] and not inputs[3] and other in constants and self.is_bias(other, shape):
            inputs[2] = other
        elif not inputs[3] and specs[other].shape == shape and specs[node.outputs[0]].shape == shape:
            inputs[3] = other
        else:
            return None
        while inputs and not inputs[-1]:
            inputs.pop()
        return fused.evolve(inputs=tuple(inputs), outputs=node.outputs)


def fuse_epilogues(graph: Graph) -> Graph:
    """Conv, MatMul and Gemm absorb the scale, bias, residual and activation that follow them.

    A fused node stands where the last node it absorbed stood, so that a residual computed in between is ready.
    """
    fusion = _Fusion(graph)
    replaced: dict[int, Node] = {}
    gone: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if node.op not in HEADS or index in gone or (fused := fusion.head(node)) is None:
            continue
        at = index
        while not fused.attrs.get("activation") and (after := fusion.follower(fused.outputs[0])) is not None:
            spot = fusion.position[after.name]
            grown = fusion.absorb(fused, after) if spot not in gone and spot not in replaced else None
            if grown is None:
                break
            gone.add(at)
            fused, at = grown, spot
        replaced[at] = fused.evolve(name=node.name)
        gone.discard(at)
    nodes = tuple(replaced.get(i, n) for i, n in enumerate(graph.nodes) if i not in gone)
    return graph.evolve(nodes=nodes)
