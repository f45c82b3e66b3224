"""Matrix products: MatMul, Gemm and FusedMatMul on packed weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import attrs

from walle_core.backends.table.activation import activation_args, supports_activation
from walle_core.backends.table.cut import ALIAS_BYTES, TileShape, padded_ops, solve, stage_floats
from walle_core.backends.table.emitter import Emitter, Rule, f64
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.table.strides import broadcast_strides
from walle_core.backends.values import NONE, Operand
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

PLAIN_DTYPES = ("float32", "float64", "int32", "uint32", "int64", "uint64")
PACK_GRAIN_BYTES = 1 << 16


@attrs.frozen
class Product:
    """The products of one node: `batch` of them, [m, k] by [k, n], with batch strides in units of whole matrices.

    Attributes:
        batch: sizes of the batch dimensions.
        m, n, k: sizes of one product.
        a_step, b_step: per batch dimension, 0 where the operand is repeated.
        a_stride, b_stride: (row, column) strides of one matrix in elements.
    """

    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    a_step: tuple[int, ...]
    b_step: tuple[int, ...]
    a_stride: tuple[int, int]
    b_stride: tuple[int, int]

    @classmethod
    def of(cls, a: Sequence[int], b: Sequence[int], trans_a: bool = False, trans_b: bool = False) -> Product:
        """From the operands' shapes; a vector is one row (a) or one column (b)."""
        a2 = tuple(a) if len(a) > 1 else (1, *a)
        b2 = tuple(b) if len(b) > 1 else (*b, 1)
        trans_a, trans_b = trans_a and len(a) > 1, trans_b and len(b) > 1
        m, k = (a2[-1], a2[-2]) if trans_a else a2[-2:]
        n = b2[-2] if trans_b else b2[-1]
        a_stride = (1, a2[-1]) if trans_a else (a2[-1], 1)
        b_stride = (1, b2[-1]) if trans_b else (b2[-1], 1)
        rank = max(len(a2), len(b2)) - 2
        lead_a, lead_b = ((1,) * (rank + 2 - len(s)) + s[:-2] for s in (a2, b2))
        batch = tuple(y if x == 1 else x for x, y in zip(lead_a, lead_b, strict=True))
        whole = cls(
            batch, m, n, k, tuple(broadcast_strides(batch, lead_a)), tuple(broadcast_strides(batch, lead_b)),
            a_stride, b_stride,
        )  # fmt: skip
        return whole._flat() if prod(lead_b) == 1 and not trans_a else whole._merged()

    def _flat(self) -> Product:
        """Rows of all batches as one product, where they all meet the same B."""
        return attrs.evolve(self, batch=(), m=self.m * prod(self.batch), a_step=(), b_step=())

    def _merged(self) -> Product:
        """Without batch dimensions of size 1, neighbours joined where both operands allow it."""
        dims: list[tuple[int, int, int]] = []
        for size, a, b in zip(self.batch, self.a_step, self.b_step, strict=True):
            if size == 1:
                continue
            if dims and dims[-1][1] == a * size and dims[-1][2] == b * size:
                dims[-1] = (dims[-1][0] * size, a, b)
            else:
                dims.append((size, a, b))
        batch, a_step, b_step = (tuple(d[i] for d in dims) for i in range(3))
        return attrs.evolve(self, batch=batch, a_step=a_step, b_step=b_step)

    @property
    def count(self) -> int:
        """Products in all batches."""
        return prod(self.batch)

    def b_dims(self) -> list[tuple[int, int]]:
        """(size, step) of the batch dimensions over which B differs."""
        return [(s, step) for s, step in zip(self.batch, self.b_step, strict=True) if step]


def product_of(node: Node, specs: Mapping[str, TensorSpec]) -> Product:
    """The product that a node with static specs asks for."""
    flags = [bool(node.attrs.get(name, 0)) and node.op != "MatMul" for name in ("transA", "transB")]
    return Product.of(specs[node.inputs[0]].sizes, specs[node.inputs[1]].sizes, *flags)


def _optional(node: Node, index: int) -> str:
    return node.inputs[index] if len(node.inputs) > index else ""


def epilogue(node: Node, specs: Mapping[str, TensorSpec]) -> tuple[str, str] | None:
    """Names of (bias, residual); None where an addend is neither a row vector nor of the result's shape."""
    out, bias, residual = specs[node.outputs[0]], _optional(node, 2), _optional(node, 3)
    n = out.sizes[-1] if out.sizes else 1
    if bias and not (specs[bias].sizes and specs[bias].sizes[-1] == n == specs[bias].size):
        if node.op != "Gemm" or residual:
            return None
        bias, residual = "", bias
    if residual and specs[residual].sizes != out.sizes:
        return None
    return bias, residual


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Packed float32 products, with B packed at load where it is constant."""
    spec, out = specs[node.inputs[0]], specs[node.outputs[0]]
    if (
        spec.dtype.name != "float32"
        or not supports_activation(node.attrs)
        or 0 in spec.sizes
        or 0 in out.sizes
    ):
        return []
    if kernels.kernel("gemm", "gemm") is None or epilogue(node, specs) is None:
        return []
    if node.op == "Gemm" and _optional(node, 2) and float(node.attrs.get("beta", 1.0)) != 1.0:
        return []
    p, tile = product_of(node, specs), TileShape.of(kernels)
    cut = solve(p.m, p.n, p.k, tile, 1, products=p.count)
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n))
    constant = node.inputs[1] in constants
    if not constant:
        moved += 2.0 * specs[node.inputs[1]].nbytes
    dispatches = 1 + (not constant) + (p.a_stride[1] != 1)
    params = {"tile": (tile.rows, tile.panel), "block": cut.block_tiles, "piece": cut.piece}
    why = (
        f"{p.count} x [{p.m}, {p.k}] x [{p.k}, {p.n}], {tile.rows}x{tile.panel} tiles, depth in {cut.piece}s"
    )
    ops = p.count * padded_ops(p.m, p.n, p.k, tile)
    return [Candidate("gemm", "gemm", ops, moved, dispatches, params, why)]


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """Packs B (at load or as a step), copies a transposed A, multiplies."""
    del choice
    p = product_of(node, em.graph.specs)
    names = epilogue(node, em.graph.specs)
    assert names is not None
    alpha = float(node.attrs.get("alpha", 1.0)) if node.op != "MatMul" else 1.0
    packed = _packed(em, node, p, alpha)
    a, p = _plain_rows(em, node, p)
    emit_product(em, node, p, a, packed, names)


def emit_product(
    em: Emitter, node: Node, p: Product, a: Operand, packed: Operand, names: tuple[str, str]
) -> None:
    """The multiplication step: `a` has unit column stride, B is packed, the result is dense."""
    tile = TileShape.of(em.kernels)
    lda = p.a_stride[0]
    tiles = -(-p.m // tile.rows)
    panels = -(-p.n // tile.panel)
    staged = tiles > 0 and p.m > 2 and panels > 2 and 4 * lda % ALIAS_BYTES == 0
    cut = solve(p.m, p.n, p.k, tile, em.threads, products=p.count, staged=staged)
    scratch = stage_floats(cut, tile) if staged else 0
    args = [
        p.m,
        p.n,
        *cut.args(),
        p.k,
        cut.piece,
        lda,
        em.distance(node.outputs[0], p.n),
        p.n,
        scratch,
        *activation_args(node.attrs),
        len(p.batch),
    ]
    b_steps = _packed_steps(p, panels * tile.panel * p.k)
    c_step = p.count * p.m * p.n
    for size, a_step, b_step in zip(p.batch, p.a_step, b_steps, strict=True):
        c_step //= size
        args += [size, a_step * p.m * p.k, b_step, c_step, c_step]
    operands = [
        em.value(node.outputs[0]), a, packed, _vector(em, names[0]), em.value(names[1]),
        em.scratch(4 * scratch * em.threads) if scratch else NONE,
    ]  # fmt: skip
    em.step(em.require("gemm", "gemm"), operands, args, p.count * cut.units, cut.grain, node.name)


def _vector(em: Emitter, name: str) -> Operand:
    return em.value(name) if name else NONE


def _packed_steps(p: Product, matrix: int) -> list[int]:
    """Steps between packed matrices: they are dense over the batch dimensions in which B differs."""
    steps, step = [0] * len(p.batch), matrix
    for i in range(len(p.batch) - 1, -1, -1):
        if p.b_step[i]:
            steps[i] = step
            step *= p.batch[i]
    return steps


def _packed(em: Emitter, node: Node, p: Product, alpha: float) -> Operand:
    tile, name, dims = TileShape.of(em.kernels), node.inputs[1], p.b_dims()
    panels = -(-p.n // tile.panel)
    args = [p.k, p.n, *p.b_stride, f64(alpha), len(dims)]
    for size, step in dims:
        args += [size, step * p.k * p.n]
    units = prod(size for size, _ in dims) * panels
    kernel = em.require("pack_b", "gemm")
    if em.is_constant(name):
        return em.packed(kernel, name, args, units, units * tile.panel * p.k)
    out = em.scratch(4 * units * tile.panel * p.k)
    em.step(
        kernel,
        [out, em.value(name)],
        args,
        units,
        max(1, PACK_GRAIN_BYTES // (4 * tile.panel * p.k)),
        node.name,
    )
    return out


def _plain_rows(em: Emitter, node: Node, p: Product) -> tuple[Operand, Product]:
    """A with unit column stride; a transposed A is copied."""
    source = em.value(node.inputs[0])
    if p.a_stride[1] == 1:
        return source, p
    spec = em.spec(node.inputs[0])
    matrices = spec.size // (p.m * p.k)
    out = em.scratch(spec.nbytes)
    sizes = [matrices, p.m, p.k]
    args = [1, 1, 0, 0, *sizes, p.m * p.k, *p.a_stride, p.m * p.k, p.k, 1]
    em.step(
        em.require("raster", "4", ""), [out, source], args, matrices * p.m, max(1, 16384 // p.k), node.name
    )
    return out, attrs.evolve(p, a_stride=(p.k, 1))


def plain_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Products of other dtypes, and empty ones: a simple loop."""
    del constants
    spec, out = specs[node.inputs[0]], specs[node.outputs[0]]
    empty = 0 in spec.sizes or 0 in out.sizes
    if kernels.kernel("gemm", "plain", spec.dtype.name) is None or (
        spec.dtype.name == "float32" and not empty
    ):
        return []
    p = product_of(node, specs)
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n))
    return [
        Candidate(
            "plain", "elementwise", 2.0 * p.count * p.m * p.n * p.k, moved, 1, {}, "not a float32 product"
        )
    ]


def emit_plain(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step over the rows of all batches."""
    del choice
    p = product_of(node, em.graph.specs)
    args = [p.m, p.n, p.k, *p.a_stride, *p.b_stride, len(p.batch)]
    for size, a_step, b_step in zip(p.batch, p.a_step, p.b_step, strict=True):
        args += [size, a_step * p.m * p.k, b_step * p.k * p.n]
    kernel = em.require("gemm", "plain", em.spec(node.inputs[0]).dtype.name)
    operands = [em.value(n) for n in (node.outputs[0], *node.inputs)]
    if p.count * p.m:
        em.step(kernel, operands, args, p.count * p.m, max(1, 65536 // max(1, p.n * p.k)), node.name)


def rules() -> list[Rule]:
    """The rules of matrix products."""
    return [
        Rule("gemm", ("MatMul", "FusedMatMul", "Gemm"), candidates, emit),
        Rule("plain", ("MatMul",), plain_candidates, emit_plain),
    ]
