"""Raster, views and gathers: operators that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from walle_core.backends.table.emitter import Emitter, Rule
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.table.slices import unplaced
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

GRAIN_BYTES = 65536


def raster_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """A view costs nothing; else one pass over the bytes."""
    del constants
    out = specs[node.outputs[0]]
    if node.attrs.get("view"):
        return [Candidate("view", "move", 0.0, 0.0, 0)]
    if kernels.kernel("raster", str(out.dtype.itemsize), "") is None:
        return []
    moved = sum(prod(r.size) for r in node.attrs["regions"]) * out.dtype.itemsize
    fill = node.attrs.get("fill") is not None
    return [Candidate("raster", "move", 0.0, 2.0 * moved + (out.nbytes if fill else 0), 1 + fill)]


def _three(values: Sequence[int], missing: int) -> list[int]:
    return [missing] * (3 - len(values)) + list(values)


def emit_raster(em: Emitter, node: Node, choice: Candidate) -> None:
    """A fill where a fill value is set, then one raster step over all regions."""
    out = node.outputs[0]
    if choice.algorithm == "view":
        em.alias(out, node.inputs[0])
        return
    spec = em.spec(out)
    item = spec.dtype.itemsize
    fill = node.attrs.get("fill")
    if fill is not None and spec.size:
        bits = int.from_bytes(element_bytes(fill, spec.dtype.name), "little")
        bits = bits - (1 << 64) if bits >= 1 << 63 else bits
        em.step(
            em.require("fill", str(item), ""),
            [em.value(out)],
            [bits],
            spec.size,
            GRAIN_BYTES // item,
            node.name,
        )
    regions = unplaced(node, em.slices)
    if not regions:
        return
    args, rows = [len(regions)], 0
    for r in regions:
        size, src, dst = _three(r.size, 1), _three(r.src.strides, 0), _three(r.dst.strides, 0)
        size, src, dst = _rebalance(size, src, dst)
        args += [1 + r.origin, r.src.offset, r.dst.offset, *size, *src, *dst]
        rows += size[0] * size[1]
    grain = max(1, GRAIN_BYTES * rows // max(1, spec.nbytes))
    operands = [em.value(out), *(em.value(n) for n in node.inputs)]
    em.step(em.require("raster", str(item), ""), operands, args, rows, grain, node.name)


def _rebalance(size: list[int], src: list[int], dst: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Splits one huge contiguous run into rows, so that threads can share it."""
    run = size[2]
    if size[0] * size[1] == 1 and run >= 32768:
        for rows in (64, 32, 16, 8, 4, 2):
            if run % rows == 0:
                row = run // rows
                return [1, rows, row], [0, row * src[2], src[2]], [0, row * dst[2], dst[2]]
    return size, src, dst


def element_bytes(value: Any, dtype: str) -> bytes:
    """The bytes of one element with this value."""
    from walle_core._native import Tensor

    return bytes(Tensor.of(value, dtype).tobytes())


def gather_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Gather along one axis with int32 or int64 indices."""
    del constants
    indices, out = specs[node.inputs[1]], specs[node.outputs[0]]
    if kernels.kernel("gather", str(indices.dtype.itemsize), "") is None or indices.dtype.kind != "i":
        return []
    return [Candidate("gather", "move", 0.0, 2.0 * out.nbytes + indices.nbytes)]


def emit_gather(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step."""
    del choice
    data, indices = em.spec(node.inputs[0]), em.spec(node.inputs[1])
    axis = int(node.attrs.get("axis", 0)) % max(1, len(data.sizes))
    outer, inner = prod(data.sizes[:axis]), prod(data.sizes[axis + 1 :]) * data.dtype.itemsize
    args = [outer, data.sizes[axis], inner, indices.size]
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0]), em.value(node.inputs[1])]
    grain = max(1, GRAIN_BYTES // max(1, inner))
    em.step(
        em.require("gather", str(indices.dtype.itemsize), ""),
        operands,
        args,
        outer * indices.size,
        grain,
        node.name,
    )


def view_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Reshape-like operators keep the element order: the same memory under another shape."""
    del kernels, specs, constants
    return [Candidate("view", "move", 0.0, 0.0, 0)]


def emit_view(em: Emitter, node: Node, choice: Candidate) -> None:
    """No step: the output is the input's memory."""
    del choice
    em.alias(node.outputs[0], node.inputs[0])


def cumsum_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """CumSum along a constant axis."""
    data = specs[node.inputs[0]]
    if (
        node.inputs[1] not in constants
        or kernels.kernel("cumsum", "Sum", data.dtype.name) is None
        or not data.sizes
    ):
        return []
    return [Candidate("scan", "elementwise", float(data.size), 2.0 * data.nbytes)]


def emit_cumsum(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step."""
    del choice
    data = em.spec(node.inputs[0])
    axis = int(em.constant_tensor(node.inputs[1]).reshape(()).tolist()) % len(data.sizes)
    outer, inner = prod(data.sizes[:axis]), prod(data.sizes[axis + 1 :])
    flags = [int(bool(node.attrs.get(flag, 0))) for flag in ("exclusive", "reverse")]
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    args = [outer, data.sizes[axis], inner, *flags]
    em.step(em.require("cumsum", "Sum", data.dtype.name), operands, args, outer * inner, 1024, node.name)


def rules() -> list[Rule]:
    """Rules of the movement operators."""
    views = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
    return [
        Rule("raster", ("Raster",), raster_candidates, emit_raster),
        Rule("view", views, view_candidates, emit_view),
        Rule("gather", ("Gather",), gather_candidates, emit_gather),
        Rule("cumsum", ("CumSum",), cumsum_candidates, emit_cumsum),
    ]
