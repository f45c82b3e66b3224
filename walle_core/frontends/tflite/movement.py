"""Rules of the operators that move elements, and of those that make tensors from shapes."""

from __future__ import annotations

from typing import Any

from walle_core.frontends.tflite.call import Call, lowers
from walle_core.frontends.tflite.lowering import Refused

FAR = 2**31 - 1  # beyond any size


@lowers("RESHAPE")
def _reshape(c: Call) -> None:
    shape = c.shape_input(1) if c.has(1) else c.ints(*(c.option("new_shape") or c.target().spec.sizes))
    c.result(c.op("Reshape", c.value(0), shape, allowzero=1))


@lowers("SQUEEZE")
def _squeeze(c: Call) -> None:
    axes = c.option("squeeze_dims")
    c.result(c.op("Squeeze", c.value(0), c.ints(*axes)) if axes else c.op("Squeeze", c.value(0)))


@lowers("EXPAND_DIMS")
def _expand_dims(c: Call) -> None:
    c.result(c.op("Unsqueeze", c.value(0), c.ints(*c.integers(1))))


@lowers("TRANSPOSE")
def _transpose(c: Call) -> None:
    c.result(c.op("Transpose", c.value(0), perm=tuple(c.integers(1))))


@lowers("CONCATENATION")
def _concatenation(c: Call) -> None:
    c.result(c.activated(c.op("Concat", *c.values(), axis=c.option("axis"))))


@lowers("PACK")
def _pack(c: Call) -> None:
    axis = c.option("axis")
    c.result(c.op("Concat", *(c.op("Unsqueeze", v, c.ints(axis)) for v in c.values()), axis=axis))


@lowers("UNPACK")
def _unpack(c: Call) -> None:
    axis, count = c.option("axis"), len(c.operator.outputs)
    for position, part in enumerate(_split(c, c.value(0), axis, [1] * count)):
        c.result(c.op("Squeeze", part, c.ints(axis)), position)


def _split(c: Call, value: str, axis: int, sizes: list[int]) -> list[str]:
    if len(sizes) != len(c.operator.outputs):
        raise Refused(f"it has {len(c.operator.outputs)} outputs, {len(sizes)} are made")
    made = c.op("Split", value, c.ints(*sizes), outputs=len(sizes), axis=axis)
    return [made] if len(sizes) == 1 else list(made)


@lowers("SPLIT")
def _even_split(c: Call) -> None:
    (axis,) = c.integers(0)
    count = len(c.operator.outputs)
    size = c.sizes(1)[axis] if -c.rank(1) <= axis < c.rank(1) else 0
    if not count or size % count:
        raise Refused(f"{size} elements do not split evenly into {count}")
    for position, part in enumerate(_split(c, c.value(1), axis, [size // count] * count)):
        c.result(part, position)


@lowers("SPLIT_V")
def _split_v(c: Call) -> None:
    sizes, (axis,) = c.integers(1), c.integers(2)
    if -1 in sizes:
        sizes[sizes.index(-1)] = c.sizes(0)[axis] - sum(v for v in sizes if v >= 0)
    for position, part in enumerate(_split(c, c.value(0), axis, sizes)):
        c.result(part, position)


@lowers("SLICE")
def _slice(c: Call) -> None:
    begin, size = c.integers(1), c.integers(2)
    ends = [FAR if n < 0 else b + n for b, n in zip(begin, size, strict=True)]
    c.result(c.op("Slice", c.value(0), c.ints(*begin), c.ints(*ends), c.ints(*range(len(begin)))))


@lowers("STRIDED_SLICE")
def _strided_slice(c: Call) -> None:
    begin, end, strides = c.integers(1), c.integers(2), c.integers(3)
    masks = {k: c.option(f"{k}_mask") for k in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    rank = c.rank(0)
    wanted = rank + sum(masks["new_axis"] >> i & 1 for i in range(len(begin)))
    starts, ends, axes, steps = [], [], [], []
    dropped, added = [], []  # axes of the input that go, axes of the result that come
    axis = place = 0
    for i, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = {k: m >> i & 1 for k, m in masks.items()}
        if bit["ellipsis"]:
            left = sum(1 for j in range(i + 1, len(begin)) if not masks["new_axis"] >> j & 1)
            place += rank - axis - left
            axis = rank - left
            continue
        if bit["new_axis"]:
            added.append(place)
            place += 1
            continue
        if bit["shrink_axis"]:
            first, last, step = first, (first + 1 if first != -1 else FAR), 1
            dropped.append(axis)
        else:
            last = first + last if c.option("offset") else last
            first = (0 if step > 0 else FAR) if bit["begin"] else first
            last = (FAR if step > 0 else -FAR) if bit["end"] else last
            place += 1
        starts.append(first)
        ends.append(last)
        axes.append(axis)
        steps.append(step)
        axis += 1
    if axis > rank or wanted < rank or 0 in steps:
        raise Refused("its ranges do not fit its input")
    value: Any = c.value(0)
    if axes:
        value = c.op("Slice", value, c.ints(*starts), c.ints(*ends), c.ints(*axes), c.ints(*steps))
    if dropped:
        value = c.op("Squeeze", value, c.ints(*dropped))
    c.result(c.op("Unsqueeze", value, c.ints(*added)) if added else value)


@lowers("GATHER")
def _gather(c: Call) -> None:
    if c.option("batch_dims"):
        raise Refused("it gathers per batch")
    c.result(c.op("Gather", c.value(0), c.stored(1), axis=c.option("axis")))


@lowers("EMBEDDING_LOOKUP")
def _embedding(c: Call) -> None:
    c.result(c.op("Gather", c.value(1), c.stored(0), axis=0))


@lowers("GATHER_ND")
def _gather_nd(c: Call) -> None:
    c.result(c.op("GatherND", c.value(0), c.cast(c.stored(1), "int64")))


@lowers("TILE")
def _tile(c: Call) -> None:
    c.result(c.op("Tile", c.value(0), c.shape_input(1)))


@lowers("BROADCAST_TO")
def _broadcast(c: Call) -> None:
    c.result(c.op("Expand", c.value(0), c.shape_input(1)))


@lowers("PAD", "PADV2")
def _pad(c: Call) -> None:
    pads = c.integers(1)
    fill = c.value(2) if c.has(2) else ""
    if fill:
        fill = c.op("Reshape", fill, c.ints())
    c.result(c.op("Pad", c.value(0), c.ints(*pads[::2], *pads[1::2]), fill))


@lowers("MIRROR_PAD")
def _mirror(c: Call) -> None:
    pads, value = c.integers(1), c.value(0)
    if c.option("mode") == 0:
        c.result(c.op("Pad", value, c.ints(*pads[::2], *pads[1::2]), mode="reflect"))
        return
    for axis, (before, after) in enumerate(
        zip(pads[::2], pads[1::2], strict=True)
    ):  # the edge itself is repeated
        parts = []
        if before:
            parts.append(c.op("Slice", value, c.ints(before - 1), c.ints(-FAR), c.ints(axis), c.ints(-1)))
        parts.append(value)
        if after:
            parts.append(c.op("Slice", value, c.ints(-1), c.ints(-after - 1), c.ints(axis), c.ints(-1)))
        value = c.op("Concat", *parts, axis=axis) if len(parts) > 1 else value
    c.result(value)


@lowers("REVERSE_V2")
def _reverse(c: Call) -> None:
    axes = c.integers(1)
    n = len(axes)
    c.result(
        c.op("Slice", c.value(0), c.ints(*[FAR] * n), c.ints(*[-FAR] * n), c.ints(*axes), c.ints(*[-1] * n))
    )


@lowers("SPACE_TO_DEPTH", "DEPTH_TO_SPACE")
def _depth(c: Call) -> None:
    value = c.op("Transpose", c.value(0), perm=(0, 3, 1, 2))
    op = "SpaceToDepth" if c.operator.name == "SPACE_TO_DEPTH" else "DepthToSpace"
    c.result(c.op("Transpose", c.op(op, value, blocksize=c.option("block_size")), perm=(0, 2, 3, 1)))


@lowers("SPACE_TO_BATCH_ND")
def _space_to_batch(c: Call) -> None:
    block, pads, (batch, *space) = c.integers(1), c.integers(2), c.sizes(0)
    n = len(block)
    rest = len(space) - n
    value = c.op("Pad", c.value(0), c.ints(0, *pads[::2], *[0] * rest, 0, *pads[1::2], *[0] * rest))
    padded = [d + a + b for d, a, b in zip(space, pads[::2], pads[1::2], strict=False)]
    if any(b < 1 or d % b for d, b in zip(padded, block, strict=True)):
        raise Refused(f"blocks {block} do not divide {padded}")
    inner = [v for d, b in zip(padded, block, strict=True) for v in (d // b, b)]
    value = c.op("Reshape", value, c.ints(batch, *inner, *space[n:]))
    perm = (*range(2, 2 * n + 1, 2), 0, *range(1, 2 * n, 2), *range(2 * n + 1, 2 * n + 1 + rest))
    value = c.op("Transpose", value, perm=perm)
    blocks = 1
    for b in block:
        blocks *= b
    outer = [d // b for d, b in zip(padded, block, strict=True)]
    c.result(c.op("Reshape", value, c.ints(batch * blocks, *outer, *space[n:])))


@lowers("BATCH_TO_SPACE_ND")
def _batch_to_space(c: Call) -> None:
    block, crops, (batch, *space) = c.integers(1), c.integers(2), c.sizes(0)
    n, blocks = len(block), 1
    for b in block:
        blocks *= b
    if blocks < 1 or batch % blocks:
        raise Refused(f"blocks {block} do not divide a batch of {batch}")
    value = c.op("Reshape", c.value(0), c.ints(*block, batch // blocks, *space))
    perm = (n, *(v for i in range(n) for v in (n + 1 + i, i)), *range(2 * n + 1, n + 1 + len(space)))
    value = c.op("Transpose", value, perm=perm)
    outer = [d * b for d, b in zip(space, block, strict=False)]
    value = c.op("Reshape", value, c.ints(batch // blocks, *outer, *space[n:]))
    ends = [d - b for d, b in zip(outer, crops[1::2], strict=True)]
    c.result(c.op("Slice", value, c.ints(*crops[::2]), c.ints(*ends), c.ints(*range(1, n + 1))))


@lowers("SHAPE")
def _shape(c: Call) -> None:
    c.result(c.cast(c.op("Shape", c.stored(0)), c.target().spec.dtype))


@lowers("FILL")
def _fill(c: Call) -> None:
    c.result(c.op("Expand", c.value(1), c.shape_input(0)))


@lowers("ZEROS_LIKE")
def _zeros(c: Call) -> None:
    c.result(c.op("Expand", c.number(0), c.op("Shape", c.value(0))))


@lowers("RANGE")
def _range(c: Call) -> None:
    c.result(c.op("Range", *(c.op("Reshape", c.value(i), c.ints()) for i in range(3))))


@lowers("ONE_HOT")
def _one_hot(c: Call) -> None:
    values = c.op("Concat", *(c.op("Reshape", c.value(i), c.ints(1)) for i in (3, 2)), axis=0)
    depth = c.op("Reshape", c.cast(c.stored(1), "int64"), c.ints(1))
    inside = c.op("And", c.op("GreaterOrEqual", c.stored(0), c.const(0, c.kind(0).name)), c.op(
        "Less", c.stored(0), c.op("Reshape", c.stored(1), c.ints())))  # fmt: skip
    index = c.op("Where", inside, c.cast(c.stored(0), "int64"), c.op("Reshape", depth, c.ints()))
    grown = c.op("OneHot", index, c.op("Add", depth, c.ints(1)), values, axis=c.option("axis"))
    axis = c.option("axis") if c.option("axis") >= 0 else c.rank(0)
    c.result(c.op("Slice", grown, c.ints(0), c.ints(-1), c.ints(axis)))
