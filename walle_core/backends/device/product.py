"""Matrix products and direct convolutions: one kernel, tiles of sums in registers, B in panels packed at load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.device.contract import Limits
from walle_core.backends.device.elementwise import activation
from walle_core.backends.device.emitter import Emitter, Rule
from walle_core.backends.device.host import copy_regions
from walle_core.backends.device.operations import Operations
from walle_core.backends.table import gemm
from walle_core.backends.table.activation import supports_activation
from walle_core.backends.table.image import Image, conv_image, epilogue_fits, optional
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.values import Operand
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

PLAIN, TAPS, KERNEL_ROWS = 0, 1, 2  # MODE of the kernel
FEW_CHANNELS = 16  # below this a kernel row is one run
SHAPES = (
    (8, 4),
    (8, 2),
    (8, 1),
    (4, 4),
    (4, 2),
    (4, 1),
    (2, 4),
    (2, 2),
    (2, 1),
    (1, 8),
    (1, 4),
    (1, 2),
    (1, 1),
)
SHARED = 16  # items along both axes of a group that shares tiles
SHARED_EFFICIENCY = 0.8  # of its multiply-adds, among the loads from shared memory
LATENCY = 8  # multiply-adds under way that keep a processor's units busy


@attrs.frozen
class Tile:
    """Sums of one item: `rows` x (`vectors` vectors of `width`); `shared` if a group brings tiles for all its items."""

    rows: int
    vectors: int
    width: int
    shared: bool = False

    @property
    def panel(self) -> int:
        """Columns that lie together in B."""
        return self.vectors * self.width * (SHARED if self.shared else 1)

    def efficiency(self, limits: Limits, deep: bool) -> float:
        """Share of the multiply-adds among what an item's inner loop is bound by: loads, or their latency."""
        sums = self.rows * self.vectors
        loads = self.rows / (self.width if deep else 1) + self.vectors
        return sums / max(sums + limits.load * loads, self.rows + self.vectors, LATENCY)


@attrs.frozen
class Matrices:
    """`count` products of m x k by k x n, in one launch; k is `runs` runs of `run`.

    Attributes:
        count, m, n, run, runs: sizes.
        inner: matrices along the faster of two batch axes.
        lda: elements from row to row of A.
        a, b, c: (outer, inner) strides between matrices; b in packed elements of one column panel's depth.
        bias: elements of the bias from matrix to matrix along the faster axis.
        mode, window: of the kernel; the window's twelve numbers.
    """

    count: int
    m: int
    n: int
    run: int
    runs: int
    inner: int
    lda: int
    a: tuple[int, int]
    b: tuple[int, int]
    c: tuple[int, int]
    bias: int = 0
    mode: int = PLAIN
    window: tuple[int, ...] = (1,) * 11

    @property
    def k(self) -> int:
        """Depth."""
        return self.run * self.runs


def tiles(limits: Limits, m: int, n: int) -> list[Tile]:
    """The tiles that fit a product and the device's registers."""
    width = max((w for w in limits.lanes if w <= n), default=1)
    wide = [Tile(r, v, width) for r, v in SHAPES if r * v * width <= limits.registers]
    found = [t for t in wide if t.rows <= m and (t.vectors == 1 or t.panel < n + t.width)]
    items = SHARED * SHARED
    fits = limits.group_items >= items and min(limits.group_sizes[:2]) >= SHARED
    if limits.tiles and fits and limits.local_bytes >= 4 * items * 8:
        found += [Tile(r, r, 1, shared=True) for r in (4, 2) if m > SHARED and n > SHARED]
    return found


def _deep(limits: Limits, work: Matrices, tile: Tile) -> bool:
    """Whether A is read in vectors along the depth: where loads are dear, and every row begins at a multiple of a vector."""
    aligned = all(n % tile.width == 0 for n in (work.run, work.lda, *work.a))
    return aligned and tile.width > 1 and (limits.load > 0 or limits.tiles)


def _group(limits: Limits, items: tuple[int, int]) -> tuple[int, int]:
    """Items of a group along rows and columns, where it shares nothing."""
    if limits.tiles:
        return 8, 8
    if limits.neighbours == 1:
        return 4, 1
    along = min(limits.neighbours, 1 << (items[0] - 1).bit_length())
    return along, limits.neighbours // along


def _operations(limits: Limits, work: Matrices, tile: Tile) -> float:
    """Multiply-adds, counted twice, of all items with their padding, as if the busiest unit set the pace."""
    if tile.shared:
        groups = work.count * -(-work.m // (SHARED * tile.rows)) * -(-work.n // tile.panel)
        items = max(groups * SHARED * SHARED, limits.units)
        return 2.0 * items * tile.rows * tile.vectors * work.k / SHARED_EFFICIENCY
    sizes = -(-work.m // tile.rows), -(-work.n // tile.panel)
    if limits.neighbours > 1:  # items that are not there take as long as those beside them
        sizes = tuple(-(-n // g) * g for n, g in zip(sizes, _group(limits, sizes), strict=True))  # type: ignore[assignment]
    items, units = work.count * sizes[0] * sizes[1], limits.units * limits.neighbours
    paced = -(-items // units) * units if items < 64 * units else items
    narrow = max(limits.lanes) / tile.width  # rates are measured with the widest vectors
    efficiency = tile.efficiency(limits, _deep(limits, work, tile))
    return 2.0 * paced * tile.rows * tile.panel * work.k * narrow / efficiency


def _offers(
    limits: Limits, work: Matrices, moved: float, dispatches: int, name: str, rate: str
) -> list[Candidate]:
    what = f"{work.count} x [{work.m}, {work.k}] x [{work.k}, {work.n}]"
    return [
        Candidate(
            f"{name} {'shared ' * t.shared}{t.rows * (SHARED if t.shared else 1)}x{t.panel}", rate, _operations(limits, work, t), moved, dispatches,
            {"tile": (t.rows, t.vectors, t.width, t.shared)}, f"{what}, {t.rows} rows of {t.vectors} vectors of {t.width} per item",
        )
        for t in tiles(limits, work.m, work.n)
    ]  # fmt: skip


def _matrices(p: gemm.Product) -> Matrices | None:
    """A node's products; None where they have more than two batch axes."""
    if len(p.batch) > 2:
        return None
    size, a, b = ((0,) * (2 - len(p.batch)) + v for v in (p.batch, p.a_step, p.b_step))
    at = [0, 0]
    step = 1
    for i in (1, 0):  # packed matrices are dense over the axes along which B differs
        if i >= 2 - len(p.batch) and b[i]:
            at[i], step = step, step * size[i]
    inner = p.batch[-1] if p.batch else 1
    mk, mn = p.m * p.k, p.m * p.n
    c = (inner * mn, mn)
    return Matrices(p.count, p.m, p.n, p.k, 1, inner, p.k, (a[0] * mk, a[1] * mk), (at[0], at[1]), c)


def matmul_candidates(
    ops: Operations | Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Products of float32 with at most two batch axes."""
    assert isinstance(ops, Operations)
    spec, out = specs[node.inputs[0]], specs[node.outputs[0]]
    if (
        spec.dtype.name != "float32"
        or 0 in spec.sizes
        or 0 in out.sizes
        or not supports_activation(node.attrs)
    ):
        return []
    if gemm.epilogue(node, specs) is None:
        return []
    if node.op == "Gemm" and optional(node, 2) and float(node.attrs.get("beta", 1.0)) != 1.0:
        return []
    p = gemm.product_of(node, specs)
    work = _matrices(p)
    if work is None:
        return []
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n))
    constant = node.inputs[1] in constants
    moved += 0.0 if constant else 2.0 * specs[node.inputs[1]].nbytes
    dispatches = 1 + (not constant) + (p.a_stride[1] != 1)
    return _offers(ops.limits, work, moved, dispatches, "gemm", "gemm")


def emit_matmul(em: Emitter, node: Node, choice: Candidate) -> None:
    """Packs B (at load or as a launch), copies a transposed A, multiplies."""
    p, tile = gemm.product_of(node, em.graph.specs), Tile(*choice.params["tile"])
    names, work = gemm.epilogue(node, em.graph.specs), _matrices(p)
    assert names is not None and work is not None
    dims = [(s, step * p.k * p.n) for s, step in p.b_dims()]
    packed = _packed(em, node.inputs[1], tile, (p.k, p.n, p.k, 0, p.b_stride[0], p.b_stride[1]), dims)
    a = em.value(node.inputs[0])
    if p.a_stride[1] != 1:
        spec = em.spec(node.inputs[0])
        plain, matrices = em.scratch(spec.nbytes), spec.size // (p.m * p.k)
        params = [spec.size, p.m, p.k, 0, p.m * p.k, *p.a_stride, 0, p.m * p.k, p.k, 1]
        em.launch("raster", [plain, a], params, (matrices * p.m * p.k,), node.name, {"E": "u32"})
        a = plain
    alpha = float(node.attrs.get("alpha", 1.0)) if node.op != "MatMul" else 1.0
    lda = p.a_stride[0] if p.a_stride[1] == 1 else p.k
    _launch(em, node, attrs.evolve(work, lda=lda), tile, a, packed, names, alpha)


def _packed(
    em: Emitter, name: str, tile: Tile, layout: tuple[int, int, int, int, int, int], dims: Sequence[tuple[int, int]]
) -> Operand:  # fmt: skip
    """B in panels; `layout` is (k, n, inner, s1, s0, sn) of the kernel `pack`, `dims` (size, stride) of the batch."""
    k, n, panel = layout[0], layout[1], tile.panel
    panels = -(-n // panel)
    count = panels * k * panel
    matrices = prod(size for size, _ in dims)
    if em.is_constant(name):
        source = em.constant_tensor(name)
        key = (id(source), layout, tuple(dims), panel)
        return em.packed(key, lambda: _pack_now(source, panel, layout, dims))
    out = em.scratch(4 * matrices * count)
    (_, outer), (size, inner) = [(1, 0), (1, 0), *dims][-2:]
    params = [count, *layout, size, outer, inner]
    alone = not em.limits.tiles and em.limits.neighbours == 1
    per = panel if alone else 1  # then an item finds its place once for a row of a panel
    em.launch(
        "pack", [out, em.value(name)], params, (count // per, matrices), f"{name}/pack",
        constants={"P": panel, "PER": per},
    )  # fmt: skip
    return out


def _pack_now(source: Tensor, panel: int, layout: Sequence[int], dims: Sequence[tuple[int, int]]) -> Tensor:
    """What the kernel `pack` does, on the host: copies of strided regions."""
    k, n, inner, s1, s0, sn = layout
    panels = -(-n // panel)
    starts = [0]
    for size, stride in dims:
        starts = [base + i * stride for base in starts for i in range(size)]
    made = Tensor((len(starts) * panels * k * panel,), "float32", zero=bool(n % panel))
    whole, rest = n // panel, n % panel
    regions = []
    for z, base in enumerate(starts):
        to = z * panels * k * panel
        for t in range(k // inner):
            src, dst = base + t * s1, to + t * inner * panel
            if whole:
                regions.append(
                    [src, dst, whole, inner, panel, panel * sn, s0, sn, k * panel, panel, 1]
                )  # fmt: skip
            if rest:
                last = [src + whole * panel * sn, dst + whole * k * panel]
                regions.append([*last, 1, inner, rest, 0, s0, sn, 0, panel, 1])
    copy_regions(made, source, regions)
    return made


def _launch(
    em: Emitter, node: Node, work: Matrices, tile: Tile, a: Operand, b: Operand, names: tuple[str, str], alpha: float
) -> None:  # fmt: skip
    act, act_a, act_b = activation(node.attrs)
    depth = -(-work.n // tile.panel) * tile.panel * work.k
    params = [
        work.m, work.n, work.run, work.lda, work.n if work.bias == 0 else work.bias * work.inner, work.inner, *work.a,
        work.b[0] * depth, work.b[1] * depth, *work.c, work.bias, alpha, act_a, act_b, work.runs, *work.window,
    ]  # fmt: skip
    bias, residual = names
    operands = [em.value(node.outputs[0]), a, b, em.value(bias), em.value(residual)]
    constants = {
        "ROWS": tile.rows, "MODE": work.mode, "BIAS": int(bool(bias)), "RESIDUAL": int(bool(residual)), "ACT": act,
    }  # fmt: skip
    if tile.shared:
        groups = -(-work.n // tile.panel), -(-work.m // (SHARED * tile.rows))
        items = (SHARED * groups[0], SHARED * groups[1], work.count)
        constants["COLS"] = tile.vectors
        em.launch("product_shared", operands, params, items, node.name, {"W": 1}, constants, (SHARED, SHARED))
        return
    constants |= {
        "VECS": tile.vectors,
        "TAIL": int(work.n % tile.panel > 0),
        "DEEP": int(_deep(em.limits, work, tile) and a.offset % (4 * tile.width) == 0),
    }  # fmt: skip
    items = (-(-work.m // tile.rows), -(-work.n // tile.panel), work.count)
    local = _group(em.limits, items[:2])
    em.launch("product", operands, params, items, node.name, {"W": tile.width}, constants, local)


def _convolution(image: Image, groups: int) -> Matrices:
    """A convolution as products over pixels: a matrix per group."""
    c, k = image.c // groups, image.k // groups
    few = c < FEW_CHANNELS and groups == 1 and image.dilations[1] == 1 and image.kernel[1] > 1
    if image.taps == 1 and image.strides == (1, 1) and image.pads == (0, 0, 0, 0):
        mode, run, runs = PLAIN, c, 1
    elif few:
        mode, run, runs = KERNEL_ROWS, c * image.kernel[1], image.kernel[0]
    else:
        mode, run, runs = TAPS, c, image.taps
    window = (*image.out, *image.size, image.kernel[1], *image.strides, *image.pads[:2], *image.dilations)
    bias = k if groups > 1 else 0
    strides = (0, c), (0, int(groups > 1)), (0, k)
    return Matrices(groups, image.pixels, k, run, runs, groups, image.c, *strides, bias, mode, window)


def conv_candidates(
    ops: Operations | Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Any float32 convolution over one or two axes of a channels-last value."""
    assert isinstance(ops, Operations)
    image = conv_image(node, specs)
    if image is None or not supports_activation(node.attrs) or not epilogue_fits(node, specs):
        return []
    groups = int(node.attrs.get("group", 1))
    work = _convolution(image, groups)
    if work.k == 0 or groups == image.c == image.k > 1:  # one channel a group: depthwise
        return []
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n))
    name = "gemm" if work.mode == PLAIN else "direct"
    return _offers(ops.limits, work, moved, 1 + (node.inputs[1] not in constants), name, name)


def emit_conv(em: Emitter, node: Node, choice: Candidate) -> None:
    """Packs the weights (at load where they are constant) and multiplies."""
    image, tile = conv_image(node, em.graph.specs), Tile(*choice.params["tile"])
    assert image is not None
    groups = int(node.attrs.get("group", 1))
    c, k = image.c // groups, image.k // groups
    layout = (c * image.taps, k, c, 1, image.taps, c * image.taps)
    dims = [(groups, k * c * image.taps)] if groups > 1 else []
    packed = _packed(em, node.inputs[1], tile, layout, dims)
    names = (optional(node, 2), optional(node, 3))
    _launch(em, node, _convolution(image, groups), tile, em.value(node.inputs[0]), packed, names, 1.0)


def rules() -> list[Rule]:
    """The rules of products and direct convolutions."""
    return [
        Rule("gemm", ("MatMul", "FusedMatMul", "Gemm"), matmul_candidates, emit_matmul),
        Rule("direct", ("FusedConv",), conv_candidates, emit_conv),
    ]
