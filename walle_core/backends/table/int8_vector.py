"""8-bit integers without products: conversion from and to float32, addition, tables, pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from walle_core.backends.table.emitter import Emitter, Rule, f64
from walle_core.backends.table.image import BYTES, channels_last, pool_image
from walle_core.backends.table.int8 import SCALES, narrow_args, narrows, result_args, scales_fit
from walle_core.backends.table.kernels import Kernels
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

GRAIN = 16384  # elements that are not worth another thread
MAX_PIXELS = 1 << 23  # a sum of so many bytes fits int32
KERNELS = {
    "QuantizeLinear": "quantize", "DequantizeLinear": "dequantize", "QuantizedAdd": "add", "Lookup": "lookup",
    "MaxPool": "max_pool", "QuantizedGlobalAveragePool": "global_average",
}  # fmt: skip

Specs = Mapping[str, TensorSpec]
Constants = Mapping[str, Any]


def _affine(node: Node, constants: Constants) -> tuple[float, int] | None:
    """Scale and zero point of a per-tensor conversion whose parameters are constant."""
    if any(n and (n not in constants or constants[n].size != 1) for n in node.inputs[1:]):
        return None
    scale = float(constants[node.inputs[1]].reshape(()).tolist())
    zero = constants[node.inputs[2]].reshape(()).tolist() if len(node.inputs) > 2 and node.inputs[2] else 0
    plain = str(constants[node.inputs[1]].dtype) == "float32" and node.attrs.get("precision", 0) in (0, 1)
    return (scale, int(zero)) if plain and SCALES[0] < scale < SCALES[1] else None


def _row(node: Node, specs: Specs) -> str:
    """Dtype of the kernel row: of the integers."""
    if node.op == "Lookup":
        return "uint8"
    return specs[node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]].dtype.name


def _runs(kernels: Kernels, node: Node, specs: Specs, constants: Constants) -> bool:
    row, source, made = _row(node, specs), specs[node.inputs[0]], specs[node.outputs[0]]
    if kernels.kernel("int8", KERNELS[node.op], row) is None or row not in BYTES or source.size == 0:
        return False
    if node.op == "QuantizeLinear":
        return source.dtype.name == "float32" and _affine(node, constants) is not None
    if node.op == "DequantizeLinear":
        return made.dtype.name == "float32" and _affine(node, constants) is not None
    if node.op == "QuantizedAdd":
        if specs[node.inputs[1]].dtype != source.dtype or not scales_fit(node, "a_scale", "b_scale"):
            return False
        a = node.attrs
        return narrows(255 * (a.get("a_scale", 1.0) + a.get("b_scale", 1.0)) / a.get("y_scale", 1.0))
    if node.op == "MaxPool":
        return pool_image(node, specs, BYTES) is not None and not any(node.outputs[1:])
    if node.op == "QuantizedGlobalAveragePool":
        shape = channels_last(node, specs, BYTES)
        return shape is not None and prod(shape[2:]) < MAX_PIXELS and scales_fit(node, "x_scale")
    return True


def candidates(kernels: Kernels, node: Node, specs: Specs, constants: Constants) -> Sequence[Candidate]:
    """One kernel each; they are bound by memory, or as vector operations."""
    if not _runs(kernels, node, specs, constants):
        return []
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n))
    image = pool_image(node, specs, BYTES) if node.op == "MaxPool" else None
    ops = float(specs[node.inputs[0]].size if image is None else image.pixels * image.c * image.taps)
    return [Candidate("vector_int8", "depthwise_int8", 2.0 * ops, moved)]


def _arguments(em: Emitter, node: Node) -> list[int]:
    a = node.attrs
    if node.op in ("QuantizeLinear", "DequantizeLinear"):
        found = _affine(node, em.graph.constants)
        assert found is not None
        scale, zero = f64(found[0]), found[1]
        if node.op == "DequantizeLinear":
            return [scale, zero]
        return [scale, zero, *((0, 255) if em.spec(node.outputs[0]).dtype.name == "uint8" else (-128, 127))]
    if node.op == "QuantizedAdd":
        y_scale = float(a.get("y_scale", 1.0))
        x, y = (f64(float(a.get(n, 1.0)) / y_scale) for n in ("a_scale", "b_scale"))
        return [x, int(a.get("a_zero", 0)), y, int(a.get("b_zero", 0)), *narrow_args(node)]
    return []


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step over elements, rows or images."""
    del choice
    kernel = em.require("int8", KERNELS[node.op], _row(node, em.graph.specs))
    reads = node.inputs[:2] if node.op in ("QuantizedAdd", "Lookup") else node.inputs[:1]
    operands = [em.value(n) for n in (node.outputs[0], *reads)]
    if node.op == "MaxPool":
        image = pool_image(node, em.graph.specs, BYTES)
        assert image is not None
        return em.step(kernel, operands, image.args(), image.n * image.out[0], image.grain, node.name)
    if node.op == "QuantizedGlobalAveragePool":
        n, *spatial, c = em.spec(node.inputs[0]).sizes
        pixels = prod(spatial)
        scale = f64(float(node.attrs.get("x_scale", 1.0)) / pixels)  # rounded to float32 once, in the kernel
        args = [pixels, c, scale, int(node.attrs.get("x_zero", 0)), *result_args(node)]
        return em.step(kernel, operands, args, n, 1, node.name)
    return em.step(kernel, operands, _arguments(em, node), em.spec(node.outputs[0]).size, GRAIN, node.name)


def rules() -> list[Rule]:
    """The rule of integer vectors."""
    return [Rule("int8_vector", tuple(KERNELS), candidates, emit)]
