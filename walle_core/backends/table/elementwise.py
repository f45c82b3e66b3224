"""Elementwise operators: one kernel row each, broadcasting by strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from walle_core.backends.table.emitter import Emitter, Rule, f64
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.table.strides import collapse
from walle_core.graph.ir import Node
from walle_core.ops import find
from walle_core.types import Candidate, TensorSpec

GRAIN = 16384  # elements that are not worth another thread

# operators whose kernel takes real parameters: attribute names with ONNX's defaults, in the kernel's order
PARAMETERS: Mapping[str, tuple[tuple[str, float], ...]] = {
    "Elu": (("alpha", 1.0),),
    "Celu": (("alpha", 1.0),),
    "LeakyRelu": (("alpha", 0.01),),
    "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)),
    "ThresholdedRelu": (("alpha", 1.0),),
    "Selu": (("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875)),
    "Swish": (("alpha", 1.0),),
    "IsInf": (("detect_negative", 1), ("detect_positive", 1)),
}
VARIADIC = {"Max", "Min", "Sum"}


def row_of(node: Node, dtype: str) -> tuple[str, str, str] | None:
    """(family, op, dtype) of the kernel row that computes the node; None for what is not elementwise."""
    op = node.op
    if op == "Gelu":
        op = "GeluTanh" if node.attrs.get("approximate", "none") in ("tanh", b"tanh") else "Gelu"
    elif op == "BitShift":
        op = "BitShiftLeft" if node.attrs.get("direction") in ("LEFT", b"LEFT") else "BitShiftRight"
    elif op == "Mod":
        op = "Fmod" if node.attrs.get("fmod", 0) else "Mod"
    elif op == "Sum":
        op = "Add"
    if op == "Clip":
        return ("unary", "Clip", dtype)
    if op == "Where":
        return ("select", "Where", dtype)
    if op in ("Cast", "CastLike"):
        return None
    arity = sum(1 for i in node.inputs if i)
    return ("unary" if arity == 1 and node.op not in VARIADIC else "binary", op, dtype)


def _specs(node: Node, specs: Mapping[str, TensorSpec]) -> list[TensorSpec]:
    return [specs[n] for n in node.inputs if n]


def parameters(node: Node, constants: Mapping[str, Any], dtype: str) -> list[int] | None:
    """Kernel parameters of a unary operator; None if they are not known at load."""
    if node.op == "Clip":
        integral = not dtype.startswith(("float", "bfloat"))
        bounds: list[float] = [-(2.0**63), 2.0**63 - 1] if integral else [float("-inf"), float("inf")]
        given = [None, None, *node.inputs[1:]][2:]
        for i, name in enumerate(given):
            if name:
                if name not in constants:
                    return None
                bounds[i] = constants[name].reshape(()).tolist()
        if not integral:
            return [f64(b) for b in bounds]
        return [max(-(2**63), min(2**63 - 1, int(b))) for b in bounds]
    return [f64(node.attrs.get(name, default)) for name, default in PARAMETERS.get(node.op, ())]


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """One candidate if the tables have the row for this operator and dtype."""
    operands = _specs(node, specs)
    data = operands[1] if node.op == "Where" else operands[0]
    row = row_of(node, data.dtype.name)
    if row is None or kernels.kernel(*row) is None:
        return []
    if (row[0] == "binary" and len({s.dtype.name for s in operands}) != 1) or (
        len(operands) == 1 and row[0] != "unary"
    ):
        return []
    if row[0] == "unary" and parameters(node, constants, data.dtype.name) is None:
        return []
    op = find(node.op)
    out = specs[node.outputs[0]]
    flops = 1.0
    if op is not None and op.flops is not None:
        from walle_core.graph.shapes import context

        ctx = context(node, op, specs, constants)
        flops = op.flops(ctx, [out]) / max(1, out.size) if ctx is not None else 1.0
    nbytes = sum(s.nbytes for s in operands) + out.nbytes
    return [Candidate("vector", "elementwise", flops * out.size, nbytes, max(1, len(operands) - 1))]


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step (a variadic operator: one per further operand, accumulating in place)."""
    del choice
    present = [n for n in node.inputs if n]
    out, spec = node.outputs[0], em.spec(node.outputs[0])
    data = em.spec(present[1] if node.op == "Where" else present[0]).dtype.name
    row = row_of(node, data)
    assert row is not None
    kernel = em.require(*row)
    if row[0] == "unary":
        args = parameters(node, em.graph.constants, data) or []
        em.step(kernel, [em.value(out), em.value(present[0])], args, spec.size, GRAIN, node.name)
        return
    if row[0] == "select":
        sizes, strides = collapse(spec.sizes, [em.spec(n).sizes for n in present])
        args = [len(sizes), *sizes, *(s for group in strides for s in group)]
        em.step(kernel, [em.value(n) for n in (out, *present)], args, spec.size, GRAIN, node.name)
        return
    left, left_shape = em.value(present[0]), em.spec(present[0]).sizes
    for right in present[1:]:
        sizes, strides = collapse(spec.sizes, [left_shape, em.spec(right).sizes])
        args = [len(sizes), *sizes, *strides[0], *strides[1]]
        em.step(kernel, [em.value(out), left, em.value(right)], args, spec.size, GRAIN, node.name)
        left, left_shape = em.value(out), spec.sizes


def cast_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """One candidate if the tables convert between the two dtypes."""
    del constants
    source, target = specs[node.inputs[0]], specs[node.outputs[0]]
    if kernels.kernel("convert", target.dtype.name, source.dtype.name) is None:
        return []
    return [Candidate("convert", "elementwise", float(target.size), source.nbytes + target.nbytes)]


def emit_cast(em: Emitter, node: Node, choice: Candidate) -> None:
    """One conversion step; the same dtype is an alias."""
    del choice
    source, target = em.spec(node.inputs[0]), em.spec(node.outputs[0])
    if source.dtype == target.dtype:
        em.alias(node.outputs[0], node.inputs[0])
        return
    kernel = em.require("convert", target.dtype.name, source.dtype.name)
    em.step(kernel, [em.value(node.outputs[0]), em.value(node.inputs[0])], [], target.size, GRAIN, node.name)


def rules(kernels: Kernels) -> list[Rule]:
    """The elementwise operators of the catalogue that the tables have a row for."""
    from walle_core.ops import catalogue

    rows = {row.op for row in kernels.rows() if row.family in ("unary", "binary", "select")}
    ops = sorted({*rows, "Sum", "BitShift"} & set(catalogue()))
    return [
        Rule("elementwise", tuple(ops), candidates, emit),
        Rule("convert", ("Cast", "CastLike"), cast_candidates, emit_cast),
    ]
