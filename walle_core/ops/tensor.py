"""Operators about a tensor rather than its elements: Shape, Size, Constant, Range, EyeLike, Trilu, Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isfinite, prod
from typing import Any

from walle_core.ops.define import OpContext, Sample, atomic, composite
from walle_core.ops.element_types import element_type
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import np_dtype
from walle_core.ops.rules import rule
from walle_core.types import DTYPES, TensorSpec, bool_, int64

Specs = list[TensorSpec] | None


def _shape_bounds(rank: int, start: int, end: int | None) -> slice:
    def clamp(v: int) -> int:
        return min(max(v + rank if v < 0 else v, 0), rank)

    return slice(clamp(start), rank if end is None else clamp(end))


@rule
def _shape_infer(ctx: OpContext) -> Specs:
    shape = ctx.shape(0)
    return [TensorSpec(int64, (len(shape[_shape_bounds(len(shape), ctx.attrs["start"], ctx.attrs["end"])]),))]


def _shape_reference(data: Any, *, start: int = 0, end: int | None = None) -> Any:
    return np.array(data.shape[_shape_bounds(data.ndim, start, end)], np.int64)


@composite(
    "Shape",
    "tensor",
    infer=_shape_infer,
    reference=_shape_reference,
    samples=(Sample(((2, 3, 4),)), Sample(((2, 3, 4),), {"start": -2}), Sample(((2, 3, 4),), {"end": -1})),
)
def shape(g: Any, data: str, *, start: int = 0, end: int | None = None) -> Any:
    """The sizes of a tensor, or a range of them, as int64."""
    sizes = g.shape(data)
    return g.const(list(sizes[_shape_bounds(len(sizes), start, end)]), "int64")


@composite(
    "Size",
    "tensor",
    infer=lambda _ctx: [TensorSpec(int64, ())],
    reference=lambda data: np.array(data.size, np.int64),
    samples=(Sample(((2, 3, 4),)),),
)
def size(g: Any, data: str) -> Any:
    """The number of elements of a tensor, as int64."""
    return g.const(prod(g.shape(data)), "int64")


def _constant_spec(ctx: OpContext) -> Specs:
    given = ctx.attrs["value"] if ctx.attrs["value"] is not None else ctx.attrs["sparse_value"]
    if given is not None:
        return [
            TensorSpec(
                DTYPES["string" if str(given.dtype) == "object" else str(given.dtype)], tuple(given.shape)
            )
        ]
    for name, dtype in (("int", "int64"), ("float", "float32"), ("string", "string")):
        if ctx.attrs[f"value_{name}"] is not None:
            return [TensorSpec(DTYPES[dtype], ())]
        if ctx.attrs[f"value_{name}s"] is not None:
            return [TensorSpec(DTYPES[dtype], (len(ctx.attrs[f"value_{name}s"]),))]
    raise ctx.error("needs one of the value attributes")


@atomic("Constant", "tensor", infer=_constant_spec, flops=lambda _ctx, _outs: 0.0)
def constant(
    *,
    value: Any = None,
    sparse_value: Any = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_string: str | None = None,
    value_strings: Sequence[str] | None = None,
) -> Any:
    """A tensor given as an attribute."""
    if value is not None or sparse_value is not None:
        return np.asarray(value if value is not None else sparse_value)
    for given, dtype in ((value_int, np.int64), (value_ints, np.int64), (value_float, np.float32),
                         (value_floats, np.float32), (value_string, object), (value_strings, object)):  # fmt: skip
        if given is not None:
            return np.array(given, dtype)
    raise ValueError("Constant needs one of the value attributes")


@rule
def _constant_of_shape_infer(ctx: OpContext) -> Specs:
    sizes = ctx.ints(0)
    value = ctx.attrs["value"]
    if sizes is None and ctx.shape(0) == (0,):
        sizes = []
    if sizes is None:
        return None
    return [TensorSpec(DTYPES["float32" if value is None else str(value.dtype)], tuple(sizes))]


def _constant_of_shape_reference(input: Any, *, value: Any = None) -> Any:
    sizes = tuple(int(d) for d in input)
    return np.zeros(sizes, np.float32) if value is None else np.full(sizes, np.asarray(value).reshape(-1)[0])


@composite(
    "ConstantOfShape",
    "tensor",
    infer=_constant_of_shape_infer,
    reference=_constant_of_shape_reference,
    samples=(Sample(([2, 3],)),),
)
def constant_of_shape(g: Any, input: str, *, value: Any = None) -> Any:
    """A tensor of the given sizes filled with one value (default 0.0)."""
    one = g.const([0.0]) if value is None else g.const(value)
    scalar = g.Reshape(one, g.const([], "int64"))
    return g.Expand(scalar, g.const(g.ints(input) if prod(g.shape(input)) else [], "int64"))


def range_length(start: float, limit: float, delta: float) -> int:
    """Elements of Range: ceil((limit - start) / delta), at least 0. Raises ValueError if delta is 0 or not finite."""
    if delta == 0:
        raise ValueError("delta must not be 0")
    if isinstance(start, int) and isinstance(limit, int) and isinstance(delta, int):
        return max(0, -((start - limit) // delta))
    found = (limit - start) / delta
    if not isfinite(found):
        raise ValueError(f"start {start}, limit {limit}, delta {delta} must be finite")
    return max(0, ceil(found))


def _number(value: Any) -> Any:
    found = value.tolist()
    while isinstance(found, list):
        found = found[0]
    return found


@rule
def _range_infer(ctx: OpContext) -> Specs:
    if not all(ctx.constant(i) for i in range(3)):
        return None
    return [TensorSpec(ctx.dtype(0), (range_length(*(_number(ctx.values[i]) for i in range(3))),))]


@atomic("Range", "tensor", infer=_range_infer, samples=(Sample((1.0, 7.5, 2.0)), Sample((5.0, -2.0, -1.5))))
def range_(start: Any, limit: Any, delta: Any, *, stash_type: int = 1) -> Any:
    """Numbers from `start` up to but without `limit`, in steps of `delta`."""
    dtype = np.asarray(start).dtype
    a, b, c = (np.asarray(v).reshape(-1)[0].item() for v in (start, limit, delta))
    wide = np_dtype(element_type(stash_type).name) if dtype.itemsize == 2 and dtype.kind != "i" else dtype
    steps = np.arange(range_length(a, b, c)).astype(wide)
    return (np.asarray(a, wide) + steps * np.asarray(c, wide)).astype(dtype)


@rule
def _eye_infer(ctx: OpContext) -> Specs:
    if len(ctx.shape(0)) != 2:
        raise ValueError("needs a matrix")
    wanted = ctx.attrs["dtype"]
    return [TensorSpec(ctx.dtype(0) if wanted is None else element_type(wanted), ctx.shape(0))]


def _eye_reference(input: Any, *, dtype: int | None = None, k: int = 0) -> Any:
    target = input.dtype if dtype is None else np_dtype(element_type(dtype).name)
    return np.eye(*input.shape, k=k).astype(target)


@composite(
    "EyeLike",
    "tensor",
    infer=_eye_infer,
    reference=_eye_reference,
    samples=(Sample(((3, 4),)), Sample(((3, 4),), {"k": -1})),
)
def eye_like(g: Any, input: str, *, dtype: int | None = None, k: int = 0) -> Any:
    """A matrix of the input's shape with ones on a diagonal."""
    rows, columns = g.shape(input)
    name = g.dtype(input).name if dtype is None else element_type(dtype).name
    on = g.Equal(g.const([[r + k] for r in range(rows)], "int64"), g.const([list(range(columns))], "int64"))
    return g.Cast(on, to=next(n for n in range(1, 27) if element_type(n).name == name))


@rule
def _trilu_infer(ctx: OpContext) -> Specs:
    if len(ctx.shape(0)) < 2:
        raise ValueError("needs a matrix or a batch of matrices")
    return [ctx.spec(0)]


def _trilu_reference(input: Any, k: Any = None, *, upper: int = 1) -> Any:
    rows, columns = np.ogrid[: input.shape[-2], : input.shape[-1]]
    offset = 0 if k is None else int(np.reshape(k, -1)[0])
    return np.where(
        columns - rows >= offset if upper else columns - rows <= offset, input, np.zeros((), input.dtype)
    )


@composite(
    "Trilu",
    "tensor",
    infer=_trilu_infer,
    reference=_trilu_reference,
    samples=(Sample(((3, 4),)), Sample(((2, 3, 4), -1), {"upper": 0}), Sample(((3, 4), 2))),
)
def trilu(g: Any, input: str, k: str | None = None, *, upper: int = 1) -> Any:
    """Keeps the upper or lower triangle of matrices and zeroes the rest; `k` shifts the diagonal."""
    rows, columns = g.shape(input)[-2:]
    if 0 in g.shape(input):
        return g.Identity(input)
    row = g.const([[r] for r in range(rows)], "int64")
    column = g.const([list(range(columns))], "int64")
    if k is None:
        offset = row
    else:  # beyond the corners nothing changes, and a larger k would overflow
        offset = g.Add(row, g.Max(g.Min(k, g.const(columns, "int64")), g.const(-rows, "int64")))
    keep = g.GreaterOrEqual(column, offset) if upper else g.LessOrEqual(column, offset)
    return g.Where(keep, input, g.const(0, g.dtype(input)))


@rule
def _dropout_infer(ctx: OpContext) -> Specs:
    return [ctx.spec(0), TensorSpec(bool_, ctx.spec(0).shape)]


def _dropout_reference(
    data: Any, ratio: Any = None, training_mode: Any = None, *, seed: int | None = None
) -> Any:
    share = 0.5 if ratio is None else float(np.reshape(ratio, -1)[0])
    if training_mode is None or not bool(np.reshape(training_mode, -1)[0]) or share == 0:
        return data, np.ones(data.shape, bool)
    keep = np.random.RandomState(seed).uniform(0, 1, data.shape) >= share
    return (keep * data / (1 - share)).astype(data.dtype), keep


@composite(
    "Dropout",
    "tensor",
    infer=_dropout_infer,
    reference=_dropout_reference,
    deterministic=False,
    samples=(Sample(((3, 4),)),),
)
def dropout(
    g: Any, data: str, ratio: str | None = None, training_mode: str | None = None, *, seed: int | None = None
) -> Any:
    """In training zeroes random elements and scales the rest; else returns its input and a mask of ones."""
    ones = g.Expand(g.const(True, "bool"), g.const(list(g.shape(data)), "int64"))
    if training_mode is None or (training_mode in g.constants and not any(g.ints(training_mode))):
        return g.Identity(data), ones
    share = g.const(0.5) if ratio is None else g.Cast(ratio, to=1)
    chance = g.RandomUniformLike(data, dtype=1, seed=None if seed is None else float(seed))
    keep = g.Or(g.Not(training_mode), g.GreaterOrEqual(chance, share))
    scale = g.Where(training_mode, g.Reciprocal(g.Sub(g.const(1.0), share)), g.const(1.0))
    scaled = g.Mul(g.Mul(g.Cast(data, to=1), scale), g.Cast(keep, to=1))
    return g.CastLike(scaled, data), keep
