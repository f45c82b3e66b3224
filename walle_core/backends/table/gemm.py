"""Matrix products: packed B, a register tile, bias, residual and activation in the epilogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.table.activation import activation_args, supports_activation
from walle_core.backends.table.blocking import TILE, solve
from walle_core.backends.table.emitter import Emitter, Kernels, Operand, Rule, f64
from walle_core.backends.table.strides import broadcast_strides
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec


@attrs.frozen
class Product:
    """A batched product [batch, m, k] x [batch, k, n]: sizes, and the batch strides in elements (0 = broadcast).

    Attributes:
        stride_k, stride_n: of B inside one matrix.
        lda: floats between rows of A.
        batch: sizes of the batch dimensions; a, b, c: strides over them; b_sizes: B's own batch sizes.
        trans_a: A is stored [k, m] and must be transposed first.
    """

    m: int
    n: int
    k: int
    lda: int
    stride_k: int
    stride_n: int
    batch: tuple[int, ...]
    a: tuple[int, ...]
    b: tuple[int, ...]
    b_sizes: tuple[int, ...]
    trans_a: bool


def product_of(node: Node, specs: Mapping[str, TensorSpec]) -> Product | None:
    """The node as a product; None for other dtypes, or an empty or scalar operand."""
    first, second, out = (specs[n] for n in (*node.inputs[:2], node.outputs[0]))
    if any(s.dtype.name != "float32" or not s.sizes or s.size == 0 for s in (first, second)) or out.size == 0:
        return None
    a, b = first.sizes, second.sizes
    a = (1, *a) if len(a) == 1 else a
    b = (*b, 1) if len(b) == 1 else b
    trans_a, trans_b = bool(node.attrs.get("transA", 0)), bool(node.attrs.get("transB", 0))
    m, k = (a[-1], a[-2]) if trans_a else (a[-2], a[-1])
    n = b[-2] if trans_b else b[-1]
    stride_k, stride_n = (1, b[-1]) if trans_b else (b[-1], 1)
    rank = max(len(a), len(b)) - 2
    batch = tuple(
        max(x, y) for x, y in zip(_lead(a, rank), _lead(b, rank), strict=True)
    )
    strides_a = tuple(s * a[-1] * a[-2] for s in broadcast_strides(batch, a[:-2]))
    strides_b = tuple(broadcast_strides(batch, b[:-2]))
    if prod(b[:-2]) == 1 and not trans_a:  # one B for all: the batch of A is more rows
        return Product(prod(batch) * m, n, k, k, stride_k, stride_n, (), (), (), (), False)
    return Product(m, n, k, k, stride_k, stride_n, batch, strides_a, strides_b, tuple(b[:-2]), trans_a)


def _lead(shape: Sequence[int], rank: int) -> list[int]:
    return [1] * (rank - len(shape) + 2) + list(shape[:-2])


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> list[Candidate]:
    """The packed product, if operands and epilogue are what the kernel takes."""
    if kernels.kernel("gemm", "gemm") is None or not supports_activation(node.attrs):
        return []
    product = product_of(node, specs)
    if product is None:
        return []
    bias, residual = [*node.inputs[2:], "", ""][:2]
    if bias and specs[bias].size != product.n or residual and specs[residual] != specs[node.outputs[0]]:
        return []
    batches = prod(product.batch)
    moved = sum(specs[n].nbytes for n in (*node.inputs, *node.outputs) if n)
    dynamic = node.inputs[1] not in constants
    blocking = solve(product.m, product.n, 1, product.k, product.lda, TILE[kernels.lanes], 1, batches)
    packing = 2 * specs[node.inputs[1]].nbytes if dynamic else 0
    why = f"{product.m}x{product.n}x{product.k}, {blocking.block_tiles} tiles x {blocking.group_panels} panels"
    ops = 2.0 * batches * product.m * product.n * product.k
    return [Candidate("gemm", "gemm", ops, float(moved + packing), 1 + dynamic, {}, why)]


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """Packs B (at load if constant), transposes A if it must, then one step."""
    del choice
    product = product_of(node, em.graph.specs)
    assert product is not None
    alpha = float(node.attrs.get("alpha", 1.0)) if node.op == "FusedMatMul" else 1.0
    packed = pack(em, node, product, alpha)
    a = em.value(node.inputs[0])
    if product.trans_a:
        a = _transposed(em, node, product)
    bias, residual = [*node.inputs[2:], "", ""][:2]
    emit_product(em, node, product, a, packed, em.value(bias), em.value(residual))


def emit_product(
    em: Emitter, node: Node, product: Product, a: Operand, packed: Operand, bias: Operand, residual: Operand
) -> None:
    """The step of a product whose B is packed."""
    batches = prod(product.batch)
    cut = solve(product.m, product.n, 1, product.k, product.lda, TILE[em.lanes], em.threads, batches)
    dense = [prod(product.batch[i + 1 :]) * product.m * product.n for i in range(len(product.batch))]
    panels = -(-product.n // TILE[em.lanes][1]) * TILE[em.lanes][1] * product.k
    dims = []
    for i, size in enumerate(product.batch):
        dims += [size, product.a[i], product.b[i] * panels, dense[i], dense[i]]
    args = [
        product.m, product.n, cut.block_tiles, cut.group_panels, cut.columns_first, product.k, cut.kc, product.lda,
        product.n, product.n, cut.scratch, *activation_args(node.attrs), len(product.batch), *dims,
    ]  # fmt: skip
    operands = [em.value(node.outputs[0]), a, packed, bias, residual]
    if cut.scratch:
        operands.append(em.scratch(4 * cut.scratch * em.threads))
    unit_ops = 2 * product.m * product.n * product.k // max(1, cut.units)
    grain = max(1, 200_000 // max(1, unit_ops))
    em.step(em.require("gemm", "gemm"), operands, args, batches * cut.units, grain, node.name)


def pack(em: Emitter, node: Node, product: Product, alpha: float) -> Operand:
    """B in panels, scaled by alpha."""
    nr = TILE[em.lanes][1]
    panels = -(-product.n // nr)
    matrices = prod(product.b_sizes)
    dims: list[int] = []
    inner = product.k * product.n
    for i, size in enumerate(product.b_sizes):
        dims += [size, prod(product.b_sizes[i + 1 :]) * inner]
    args = [product.k, product.n, product.stride_k, product.stride_n, f64(alpha), len(product.b_sizes), *dims]
    floats, work = matrices * panels * nr * product.k, matrices * panels
    kernel = em.require("pack_b", "gemm")
    if em.is_constant(node.inputs[1]):
        packed = Tensor((floats,), "float32", zero=False)
        em.run_now(kernel, [packed, em.constant_tensor(node.inputs[1])], args, work)
        return em.add_constant(packed)
    room = em.scratch(4 * floats)
    grain = max(1, 65536 // (4 * nr * product.k))
    em.step(kernel, [room, em.value(node.inputs[1])], args, work, grain, f"{node.name}/pack")
    return room


def _transposed(em: Emitter, node: Node, product: Product) -> Operand:
    spec = em.spec(node.inputs[0])
    rows, cols = spec.sizes[-2:]
    count = spec.size // (rows * cols)
    room = em.scratch(spec.nbytes)
    args = [1, 1, 0, 0, count, cols, rows, rows * cols, 1, cols, rows * cols, rows, 1]
    em.step(em.require("raster", "4", ""), [room, em.value(node.inputs[0])], args, count * cols, 64, f"{node.name}/transpose")
    return room


def rules() -> list[Rule]:
    """The rule of matrix products."""
    return [Rule("gemm", ("MatMul", "FusedMatMul"), candidates, emit)]
