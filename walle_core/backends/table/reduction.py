"""Reductions, softmax and normalisation over rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from walle_core.backends.table.emitter import Emitter, Rule, f64
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.table.strides import split_at
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

REDUCE = {
    "ReduceSum": "Sum", "ReduceMax": "Max", "ReduceMin": "Min", "ReduceProd": "Prod", "ReduceMean": "Mean",
    "ReduceSumSquare": "SumSquare", "ReduceL1": "L1", "ReduceLogSumExp": "LogSumExp",
    "ArgMax": "ArgMax", "ArgMin": "ArgMin",
}  # fmt: skip
GRAIN_ELEMENTS = 16384


def _axes(node: Node, rank: int, constants: Mapping[str, Any]) -> list[int] | None:
    if node.op.startswith("Arg"):
        return [int(node.attrs.get("axis", 0)) % max(1, rank)]
    if len(node.inputs) > 1 and node.inputs[1]:
        if node.inputs[1] not in constants:
            return None
        axes = [int(a) % max(1, rank) for a in constants[node.inputs[1]].reshape(-1).tolist()]
        if axes:
            return sorted(set(axes))
    return [] if node.attrs.get("noop_with_empty_axes", 0) else list(range(rank))


def reduce_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """A reduction over adjacent axes; others are decomposed with a transpose."""
    data = specs[node.inputs[0]]
    if kernels.kernel("reduce", REDUCE[node.op], data.dtype.name) is None or data.size == 0:
        return []
    if split_of(node, data.sizes, constants) is None:
        return []
    return [Candidate("reduce", "elementwise", float(data.size), data.nbytes + specs[node.outputs[0]].nbytes)]


def split_of(node: Node, shape: Sequence[int], constants: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """(outer, n, inner) of a reduction over adjacent axes that are known; else None."""
    axes = _axes(node, len(shape), constants)
    return _split(shape, axes) if axes else None


def _split(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, int, int] | None:
    squeezed = [i for i in range(len(shape)) if shape[i] != 1]  # axes of size 1 do not matter
    position = {axis: at for at, axis in enumerate(squeezed)}
    kept = [position[a] for a in axes if a in position]
    if not kept:
        return prod(shape), 1, 1
    return split_at([shape[i] for i in squeezed], kept)


def emit_reduce(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step over [outer, n, inner]."""
    del choice
    data = em.spec(node.inputs[0])
    split = split_of(node, data.sizes, em.graph.constants)
    assert split is not None
    outer, n, inner = split
    args = [outer, n, inner]
    if node.op.startswith("Arg"):
        args.append(int(node.attrs.get("select_last_index", 0)))
    kernel = em.require("reduce", REDUCE[node.op], data.dtype.name)
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    em.step(kernel, operands, args, outer * inner, max(1, GRAIN_ELEMENTS // max(1, n)), node.name)


def softmax_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Softmax over the innermost axis; another axis is decomposed."""
    del constants
    data = specs[node.inputs[0]]
    rank = len(data.sizes)
    if rank == 0 or kernels.kernel("softmax", node.op, data.dtype.name) is None or data.size == 0:
        return []
    axis = int(node.attrs.get("axis", -1)) % rank
    if prod(data.sizes[axis + 1 :]) != 1:
        return []
    return [Candidate("fused rows", "elementwise", 12.0 * data.size, 2.0 * data.nbytes)]


def emit_softmax(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step over rows."""
    del choice
    data = em.spec(node.inputs[0])
    n = data.sizes[int(node.attrs.get("axis", -1)) % len(data.sizes)]
    rows = data.size // n
    kernel = em.require("softmax", node.op, data.dtype.name)
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    em.step(kernel, operands, [rows, n], rows, max(1, 4096 // n), node.name)


def norm_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """LayerNormalization and RMSNormalization over trailing axes with a scale of exactly that shape and dtype."""
    del constants
    data = specs[node.inputs[0]]
    row = "LayerNorm" if node.op == "LayerNormalization" else "RmsNorm"
    if kernels.kernel("norm", row, data.dtype.name) is None or any(node.outputs[1:]) or data.size == 0:
        return []
    axis = int(node.attrs.get("axis", -1)) % len(data.sizes)
    n = prod(data.sizes[axis:])
    if any(specs[name].size != n or specs[name].dtype != data.dtype for name in node.inputs[1:] if name):
        return []
    return [Candidate("fused rows", "elementwise", 8.0 * data.size, 2.0 * data.nbytes)]


def emit_norm(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step over rows."""
    del choice
    data = em.spec(node.inputs[0])
    n = prod(data.sizes[int(node.attrs.get("axis", -1)) % len(data.sizes) :])
    rows = data.size // n
    kernel = em.require(
        "norm", "LayerNorm" if node.op == "LayerNormalization" else "RmsNorm", data.dtype.name
    )
    names = [*node.inputs, "", ""][:3]
    operands = [em.value(node.outputs[0]), *(em.value(name) for name in names)]
    args = [rows, n, f64(node.attrs.get("epsilon", 1e-5))]
    em.step(kernel, operands, args, rows, max(1, 8192 // n), node.name)


def rules() -> list[Rule]:
    """Rules of the row operators."""
    return [
        Rule("reduce", tuple(REDUCE), reduce_candidates, emit_reduce),
        Rule("softmax", ("Softmax", "LogSoftmax"), softmax_candidates, emit_softmax),
        Rule("norm", ("LayerNormalization", "RMSNormalization"), norm_candidates, emit_norm),
    ]
