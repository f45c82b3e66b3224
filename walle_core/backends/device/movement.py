"""Operators that move elements, and integers, truth values and conversions: one item per element or row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd, prod
from typing import Any

from walle_core.backends.device.emitter import Emitter, Rule
from walle_core.backends.device.operations import ELEMENTS, TYPES
from walle_core.backends.device.source import operations
from walle_core.backends.table import elementwise, movement
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.table.strides import collapse
from walle_core.backends.values import Operand
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

ROW_ELEMENTS = 8  # shorter runs are moved an element per item, on devices without lanes too
PIECE, PIECES = (
    64,
    8,
)  # elements of a piece of a row, at least; pieces for each unit, where there are few rows
MAX_REGIONS = 4  # of one source that are launched one by one
AXES = 4  # of a broadcast


def copy_bytes(em: Emitter, source: Operand, target: Operand, nbytes: int, name: str) -> None:
    """A plain copy."""
    size = next(s for s in (16, 8, 4, 2, 1) if nbytes % s == 0)
    _region(em, source, target, size, [1, 1, nbytes // size], (0, [0, 0, 1]), (0, [0, 0, 1]), name)


def _widened(
    item: int, size: list[int], src: tuple[int, list[int]], dst: tuple[int, list[int]]
) -> tuple[int, list[int], tuple[int, list[int]], tuple[int, list[int]]]:
    """The same copy in the largest elements that all runs, offsets and strides are whole numbers of."""
    if src[1][2] != 1 or dst[1][2] != 1:
        return item, size, src, dst
    outer = [s for n, s in zip(size[:2] * 2, (*src[1][:2], *dst[1][:2]), strict=True) if n > 1]
    whole = gcd(size[2], src[0], dst[0], *outer)
    times = max(t for t in (16, 8, 4, 2, 1) if item * t <= 16 and whole % t == 0)
    narrow = [(o // times, [s // times for s in strides[:2]] + [1]) for o, strides in (src, dst)]
    return item * times, [*size[:2], size[2] // times], narrow[0], narrow[1]


def _region(
    em: Emitter, source: Operand, target: Operand, item: int, size: list[int], src: tuple[int, list[int]],
    dst: tuple[int, list[int]], name: str,
) -> None:  # fmt: skip
    item, size, src, dst = _widened(item, size, src, dst)
    if not em.limits.tiles:
        size, src, dst = _longest_last(size, src, dst)
    rest = [size[1], size[2], src[0], *src[1], dst[0], *dst[1]]
    kind = {"E": ELEMENTS[item]}
    if not em.limits.tiles and size[2] >= ROW_ELEMENTS:
        rows = size[0] * size[1]
        pieces = max(1, min(PIECES * em.limits.units // rows, size[2] // PIECE))
        cut, dense = -(-size[2] // pieces), int(src[1][2] == dst[1][2] == 1)
        items, constants = (rows, -(-size[2] // cut)), {"DENSE": dense}
        em.launch(
            "raster_rows", [target, source], [rows, cut, *rest], items, name, kind, constants, local=(4,)
        )
        return
    count = prod(size)
    steps = 1 if em.limits.tiles else 16
    em.launch("raster", [target, source], [count, *rest], (-(-count // steps),), name, kind, {"STEPS": steps})


def _longest_last(
    size: list[int], src: tuple[int, list[int]], dst: tuple[int, list[int]]
) -> tuple[list[int], tuple[int, list[int]], tuple[int, list[int]]]:
    """The same copy with rows along the longest axis, unless they are dense already and not short."""
    if src[1][2] == dst[1][2] == 1 and size[2] >= ROW_ELEMENTS:
        return size, src, dst
    order = sorted(range(3), key=lambda i: (size[i], i))
    return [size[i] for i in order], *((o, [v[i] for i in order]) for o, v in (src, dst))  # type: ignore[return-value]


def emit_raster(em: Emitter, node: Node, choice: Candidate) -> None:
    """A fill where a fill value is set, then a launch per region, or per source of many regions."""
    out = node.outputs[0]
    if choice.algorithm == "view":
        em.alias(out, node.inputs[0])
        return
    spec = em.spec(out)
    item, target = spec.dtype.itemsize, em.value(out)
    fill = node.attrs.get("fill")
    if fill is not None:
        element = movement.element_bytes(fill, spec.dtype.name).ljust(16, b"\0")
        words = [int.from_bytes(element[i : i + 4], "little", signed=True) for i in range(0, 16, 4)]
        em.launch("fill", [target], [spec.size, *words], (spec.size,), node.name, {"E": ELEMENTS[item]})
    for index, name in enumerate(node.inputs):
        regions = [r for r in node.attrs["regions"] if r.origin == index and prod(r.size)]
        if len(regions) > MAX_REGIONS:
            _table(em, em.value(name), target, item, regions, node.name)
            continue
        for r in regions:
            size, src, dst = (_three(v, m) for v, m in ((r.size, 1), (r.src.strides, 0), (r.dst.strides, 0)))
            _region(
                em, em.value(name), target, item, size, (r.src.offset, src), (r.dst.offset, dst), node.name
            )


def _three(values: Sequence[int], missing: int) -> list[int]:
    return [missing] * (3 - len(values)) + list(values)


def _table(
    em: Emitter, source: Operand, target: Operand, item: int, regions: Sequence[Any], name: str
) -> None:
    from walle_core._native import Tensor

    rows, first = [], 0
    for r in regions:
        size, src, dst = (_three(v, m) for v, m in ((r.size, 1), (r.src.strides, 0), (r.dst.strides, 0)))
        rows.append([first, *size[1:], r.src.offset, *src, r.dst.offset, *dst, 0])
        first += prod(size)
    table = em.add_constant(Tensor.of(rows, "int32"))
    em.launch(
        "raster_table", [target, source, table], [first, len(rows)], (first,), name, {"E": ELEMENTS[item]}
    )


def emit_gather(em: Emitter, node: Node, choice: Candidate) -> None:
    """One item per element of the result."""
    del choice
    data, indices, out = em.spec(node.inputs[0]), em.spec(node.inputs[1]), em.spec(node.outputs[0])
    axis = int(node.attrs.get("axis", 0)) % max(1, len(data.sizes))
    item, inner = data.dtype.itemsize, prod(data.sizes[axis + 1 :])
    times = max(t for t in (16, 8, 4, 2, 1) if item * t <= 16 and inner % t == 0)
    params = [out.size // times, indices.size, inner // times, data.sizes[axis]]
    operands = [em.value(n) for n in (node.outputs[0], node.inputs[0], node.inputs[1])]
    kind = {"E": ELEMENTS[item * times], "I": TYPES[indices.dtype.name]}
    em.launch("gather", operands, params, (out.size // times,), node.name, kind)


def _strides(em: Emitter, out: str, operands: Sequence[str]) -> list[int] | None:
    """z1..z3 and four strides per operand; None where the broadcast has more axes."""
    sizes, strides = collapse(em.spec(out).sizes, [em.spec(n).sizes for n in operands])
    return strided(sizes, strides)


def strided(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> list[int] | None:
    """A broadcast as the params z1, z2, z3 and four strides per operand; None where it has more axes."""
    if len(sizes) > AXES:
        return None
    lead = AXES - len(sizes)
    padded = [1] * lead + list(sizes)
    return padded[1:] + [s for group in strides for s in [0] * lead + list(group)]


def typed_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Integer and logical operators of two operands, comparisons, Where and Not."""
    operands = [specs[n] for n in node.inputs if n]
    out = specs[node.outputs[0]]
    row = elementwise.row_of(node, operands[-1].dtype.name)
    if row is None or (row[0] != "select" and row[1] in operations("elementwise") and row[2] == "float32"):
        return []
    if len(operands) != {"unary": 1, "binary": 2, "select": 3}[row[0]]:
        return []
    if row[0] == "select" and operands[1].dtype.itemsize not in ELEMENTS:
        return []
    if strided(*collapse(out.sizes, [s.sizes for s in operands])) is None:
        return []
    return elementwise.candidates(kernels, node, specs, constants)


def emit_typed(em: Emitter, node: Node, choice: Candidate) -> None:
    """One item per element."""
    del choice
    out, names = node.outputs[0], [n for n in node.inputs if n]
    data, n = em.spec(names[-1]).dtype, em.spec(out).size
    row = elementwise.row_of(node, data.name)
    assert row is not None
    operands = [em.value(name) for name in (out, *names)]
    if row[0] == "unary":
        em.launch("logical_not", operands, [n], (n,), node.name)
        return
    params = _strides(em, out, names)
    assert params is not None
    if row[0] == "select":
        em.launch("where", operands, [n, *params], (n,), node.name, {"E": ELEMENTS[data.itemsize]})
        return
    kernel = "arithmetic" if em.spec(out).dtype == data and row[1] != "Equal" else "compare"
    constants = {"OP": operations("typed").get(row[1], 1)}
    em.launch(kernel, operands, [n, *params], (n,), node.name, {"T": TYPES[data.name]}, constants)


def emit_cast(em: Emitter, node: Node, choice: Candidate) -> None:
    """One conversion per element; the same dtype is an alias."""
    del choice
    source, target = em.spec(node.inputs[0]).dtype, em.spec(node.outputs[0]).dtype
    if source == target:
        em.alias(node.outputs[0], node.inputs[0])
        return
    n = em.spec(node.outputs[0]).size
    kinds = {"S": TYPES[source.name], "T": TYPES[target.name]}
    truth = {"TRUTH": int(target.name == "bool")}
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    em.launch("convert", operands, [n], (n,), node.name, kinds, truth)


def rules() -> list[Rule]:
    """Rules of the movement operators, of integers and of conversions."""
    from walle_core.backends.device.operations import ARITHMETIC, BITWISE, COMPARE, LOGICAL

    views = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
    typed = (*ARITHMETIC, *BITWISE, *COMPARE, *LOGICAL, "Not", "Where")
    return [
        Rule("raster", ("Raster",), movement.raster_candidates, emit_raster),
        Rule("view", views, movement.view_candidates, lambda em, n, _: em.alias(n.outputs[0], n.inputs[0])),
        Rule("gather", ("Gather",), movement.gather_candidates, emit_gather),
        Rule("typed", typed, typed_candidates, emit_typed),
        Rule("convert", ("Cast", "CastLike"), elementwise.cast_candidates, emit_cast),
    ]
