"""Depthwise convolution, pooling, reductions, softmax, normalisation and running sums: emission; the tables' rules offer."""

from __future__ import annotations

from math import prod

from walle_core._native import Tensor
from walle_core.backends.device.elementwise import activation
from walle_core.backends.device.emitter import Emitter, Rule
from walle_core.backends.device.host import copy_regions
from walle_core.backends.device.source import operations
from walle_core.backends.table import depthwise, movement, pool, reduction
from walle_core.backends.table.image import Image, conv_image, optional, pool_image
from walle_core.backends.values import Operand
from walle_core.graph.ir import Node
from walle_core.types import Candidate

DEPTHWISE, LARGEST, MEAN, MEAN_PADDED = 0, 1, 2, 3  # KIND of the kernel `windows`
PIXELS = 4  # results of an item


def _windows(
    em: Emitter, node: Node, image: Image, kind: int, weights: Operand, names: tuple[str, str]
) -> None:
    width = em.width(image.c)
    pixels = PIXELS if image.out[1] >= PIXELS and PIXELS * width <= em.limits.registers else 1
    act, act_a, act_b = activation(node.attrs)
    rows = image.n * image.out[0]
    params = [
        rows, image.c, image.c, *image.out, *image.size, *image.kernel, *image.strides, *image.pads, *image.dilations,
        act_a, act_b,
    ]  # fmt: skip
    constants = {
        "KIND": kind, "PIXELS": pixels, "BIAS": int(bool(names[0])), "RESIDUAL": int(bool(names[1])), "ACT": act,
    }  # fmt: skip
    items = (-(-image.c // width), -(-image.out[1] // pixels), rows)
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0]), weights, *(em.value(n) for n in names)]
    em.launch(
        "windows", operands, params, items, node.name, {"W": width}, constants, (16, 4) if em.limits.tiles else (16,)
    )  # fmt: skip


def emit_depthwise(em: Emitter, node: Node, choice: Candidate) -> None:
    """Weights are brought into the order [taps, c], at load where they are constant."""
    del choice
    image = conv_image(node, em.graph.specs)
    assert image is not None
    name, c, taps = node.inputs[1], image.c, image.taps
    if em.is_constant(name):
        weights = em.packed((name, "taps"), lambda: _transposed(em.constant_tensor(name), c, taps))
    else:
        weights = em.scratch(4 * c * taps)
        params = [c * taps, taps, c, 0, 0, 1, taps, 0, 0, c, 1]
        em.launch("raster", [weights, em.value(name)], params, (c * taps,), node.name, {"E": "u32"})
    _windows(em, node, image, DEPTHWISE, weights, (optional(node, 2), optional(node, 3)))


def _transposed(source: Tensor, c: int, taps: int) -> Tensor:
    made = Tensor((taps, c), "float32", zero=False)
    copy_regions(made, source, [[0, 0, 1, taps, c, 0, 1, taps, 0, c, 1]])
    return made


def emit_pool(em: Emitter, node: Node, choice: Candidate) -> None:
    """One item per pixel run and vector of channels."""
    del choice
    image = pool_image(node, em.graph.specs)
    assert image is not None
    mean = MEAN_PADDED if node.attrs.get("count_include_pad", 0) else MEAN
    _windows(em, node, image, LARGEST if node.op == "MaxPool" else mean, em.value(""), ("", ""))


def emit_global(em: Emitter, node: Node, choice: Candidate) -> None:
    """A reduction over pixels."""
    del choice
    n, *spatial, c = em.spec(node.inputs[0]).sizes
    _reduce(em, node, "ReduceMax" if node.op == "GlobalMaxPool" else "ReduceMean", (n, prod(spatial), c))


def _reduce(em: Emitter, node: Node, kind: str, split: tuple[int, int, int]) -> None:
    outer, n, inner = split
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    constants = {"KIND": operations("rows").get(kind, 0)}
    if inner == 1:
        variants = {"W": em.width(n)}
        em.launch("reduce_rows", operands, [outer, n], (outer,), node.name, variants, constants, local=(4,))
    else:
        width = em.width(inner)
        items = (-(-inner // width), outer)
        em.launch(
            "reduce_columns",
            operands,
            [outer, n, inner],
            items,
            node.name,
            {"W": width},
            constants,
            local=(4,),
        )


def emit_reduce(em: Emitter, node: Node, choice: Candidate) -> None:
    """An item per row, or per vector of neighbours where the axis is not the last."""
    del choice
    split = reduction.split_of(node, em.spec(node.inputs[0]).sizes, em.graph.constants)
    assert split is not None
    if not node.op.startswith("Arg"):
        _reduce(em, node, node.op, split)
        return
    outer, n, inner = split
    flags = {"LEAST": int(node.op == "ArgMin"), "LAST": int(node.attrs.get("select_last_index", 0))}
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    em.launch(
        "arg_extreme", operands, [outer * inner, n, inner], (outer * inner,), node.name, None, flags, (4,)
    )


def emit_softmax(em: Emitter, node: Node, choice: Candidate) -> None:
    """An item per row."""
    del choice
    data = em.spec(node.inputs[0])
    n = data.sizes[int(node.attrs.get("axis", -1)) % len(data.sizes)]
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    flags = {"LOG": int(node.op == "LogSoftmax")}
    rows = data.size // n
    em.launch("softmax", operands, [rows, n], (rows,), node.name, {"W": em.width(n)}, flags, local=(4,))


def emit_norm(em: Emitter, node: Node, choice: Candidate) -> None:
    """An item per row."""
    del choice
    data = em.spec(node.inputs[0])
    n = prod(data.sizes[int(node.attrs.get("axis", -1)) % len(data.sizes) :])
    names = [*node.inputs, "", ""][:3]
    flags = {"RMS": int(node.op == "RMSNormalization"), "BIAS": int(bool(names[2]))}
    operands = [em.value(node.outputs[0]), *(em.value(name) for name in names)]
    rows = data.size // n
    params = [rows, n, float(node.attrs.get("epsilon", 1e-5))]
    em.launch("norm", operands, params, (rows,), node.name, {"W": em.width(n)}, flags, local=(4,))


def emit_cumsum(em: Emitter, node: Node, choice: Candidate) -> None:
    """An item per running sum."""
    del choice
    data = em.spec(node.inputs[0])
    axis = int(em.constant_tensor(node.inputs[1]).reshape(()).tolist()) % len(data.sizes)
    inner = prod(data.sizes[axis + 1 :])
    count = data.size // max(1, data.sizes[axis])
    flags = {f.upper(): int(bool(node.attrs.get(f, 0))) for f in ("exclusive", "reverse")}
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    em.launch(
        "cumsum", operands, [count, data.sizes[axis], inner], (count,), node.name, None, flags, local=(4,)
    )


def rules() -> list[Rule]:
    """Rules of windows and rows."""
    return [
        Rule("depthwise", ("FusedConv",), depthwise.candidates, emit_depthwise),
        Rule("pool", tuple(pool.WINDOWS), pool.candidates, emit_pool),
        Rule("pool_global", tuple(pool.GLOBALS), pool.global_candidates, emit_global),
        Rule("reduce", tuple(reduction.REDUCE), reduction.reduce_candidates, emit_reduce),
        Rule("softmax", ("Softmax", "LogSoftmax"), reduction.softmax_candidates, emit_softmax),
        Rule("norm", ("LayerNormalization", "RMSNormalization"), reduction.norm_candidates, emit_norm),
        Rule("cumsum", ("CumSum",), movement.cumsum_candidates, emit_cumsum),
    ]
