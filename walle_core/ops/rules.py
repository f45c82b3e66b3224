"""Shape rules that operator definitions share: broadcasting, axes, sliding windows. Pure Python.

The helpers raise ValueError that says what is wrong and what to do; `rule` turns it into the ShapeError of a node.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

import attrs

from walle_core.errors import ShapeError
from walle_core.ops.define import OpContext
from walle_core.types import DType, TensorSpec

Infer = Callable[[OpContext], Sequence[TensorSpec] | None]
Flops = Callable[[OpContext, Sequence[TensorSpec]], float]

MAX_TABLE = 1 << 26  # constants that a decomposition computes entry by entry
MAX_TAPS = 1 << 24  # elements of one pooling window
MAX_LENGTH = 1 << 20  # and its elements along one axis
MAX_ELEMENTS = 1 << 40  # a larger value fits no device; sizes beyond it come from a malformed model

# The numbers of ONNX's TensorProto.DataType, as attributes such as `stash_type` hold them.
ONNX_DTYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
ONNX_NUMBERS = {name: number for number, name in ONNX_DTYPES.items()} | {
    "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "uint32": 12, "uint64": 13,
}  # fmt: skip


def rule(infer: Infer) -> Infer:
    """Decorates an inference rule: its ValueError, TypeError, ... become the ShapeError that names the node."""

    @functools.wraps(infer)
    def checked(ctx: OpContext) -> Sequence[TensorSpec] | None:
        try:
            specs = infer(ctx)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise ctx.error(str(error)) from error
        for spec in specs or ():
            if spec.static and (any(d < 0 for d in spec.sizes) or spec.size > MAX_ELEMENTS):
                raise ctx.error(
                    f"result would be {spec}; sizes must be >= 0 with at most 2**40 elements in all"
                )
        return specs

    return checked


def text(value: str | bytes) -> str:
    """A string attribute, which model files hold as bytes. Raises ValueError if it is something else."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise ValueError(f"an attribute is {value!r} where a string must be")  # noqa: TRY004 - the model's fault
    return value


def onnx_dtype(value: int | str | bytes) -> str:
    """Name of the float dtype that a precision attribute (ONNX number or name) means. Raises ValueError."""
    name = ONNX_DTYPES.get(value, "") if isinstance(value, int) else text(value)
    if name not in ONNX_NUMBERS or not name.startswith(("float", "bfloat")):
        raise ValueError(f"{value!r} is no floating-point type; use one of {ONNX_DTYPES}")
    return name


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all `shapes` broadcast to, by NumPy's rule. Raises ValueError if there is none."""
    rank = max((len(s) for s in shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1:
                if result[axis] not in (1, size):
                    raise ValueError(
                        f"shapes {' and '.join(map(str, map(tuple, shapes)))} do not broadcast together"
                    )
                result[axis] = size
    return tuple(result)


def broadcasts_to(shape: Sequence[int], target: Sequence[int]) -> bool:
    """True if `shape` broadcasts to `target` without changing `target`."""
    return len(shape) <= len(target) and all(
        s in (1, t) for s, t in zip(reversed(shape), reversed(target), strict=False)
    )


def check_broadcast(what: str, shape: Sequence[int], target: Sequence[int]) -> None:
    """Raises ValueError unless `shape` broadcasts to exactly `target`."""
    if not broadcasts_to(shape, target):
        raise ValueError(f"{what} {tuple(shape)} must broadcast to {tuple(target)}")


def normal_axis(axis: int, rank: int) -> int:
    """`axis` as a number in [0, rank). Raises ValueError outside [-rank, rank)."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} is outside [-{rank}, {rank})")
    return axis % rank if rank else 0


def normal_axes(axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """Sorted axes in [0, rank). Raises ValueError if one is out of range or named twice."""
    found = sorted(normal_axis(a, rank) for a in axes)
    if len(set(found)) != len(found):
        raise ValueError(f"axes {found} name an axis twice")
    return tuple(found)


def check_equal_dtypes(ctx: OpContext, *indices: int) -> DType:
    """The dtype that the present ones of the inputs share. Raises ValueError if they differ."""
    found = {ctx.dtype(i).name: ctx.dtype(i) for i in indices if ctx.has(i)}
    if len(found) != 1:
        raise ValueError(f"operands must have one dtype, found {', '.join(found)}; insert a Cast")
    return next(iter(found.values()))


def check_kinds(ctx: OpContext, kinds: str, *indices: int) -> None:
    """Raises ValueError unless the inputs' dtypes are of one of `kinds` (DType.kind letters)."""
    for index in indices:
        if ctx.has(index) and ctx.dtype(index).kind not in kinds:
            raise ValueError(f"input {index} has dtype {ctx.dtype(index)}, which this operator does not take")


def check_vector(ctx: OpContext, index: int, size: int, what: str) -> None:
    """Raises ValueError unless the input, if present, has shape [size]."""
    if ctx.has(index) and ctx.shape(index) != (size,):
        raise ValueError(f"{what} has shape {ctx.shape(index)}, must be ({size},)")


@rule
def same(ctx: OpContext) -> Sequence[TensorSpec]:
    """One output with the spec of the first input."""
    return [ctx.spec(0)]


def operations(per_element: float) -> Flops:
    """Operation count of an elementwise operator: so many per element of the first output."""
    return lambda _ctx, outs: per_element * outs[0].size


def input_operations(per_element: float) -> Flops:
    """Operation count of a reduction: so many per element of the first input."""
    return lambda ctx, _outs: per_element * prod(ctx.shape(0))


def matmul_shape(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """Shape of numpy.matmul(a, b). Raises ValueError if the operands do not fit."""
    if not a or not b:
        raise ValueError("a scalar operand cannot be multiplied as a matrix; use Mul")
    left = (1, *a) if len(a) == 1 else tuple(a)
    right = (*b, 1) if len(b) == 1 else tuple(b)
    if left[-1] != right[-2]:
        raise ValueError(f"inner sizes {left[-1]} and {right[-2]} of {tuple(a)} x {tuple(b)} differ")
    batch = broadcast_shapes(left[:-2], right[:-2])
    return (*batch, *((left[-2],) if len(a) > 1 else ()), *((right[-1],) if len(b) > 1 else ()))


def reduced_shape(shape: Sequence[int], axes: Sequence[int], keepdims: Any) -> tuple[int, ...]:
    """`shape` after a reduction over the normalised `axes`."""
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def _per_axis(
    name: str, given: Sequence[int] | None, count: int, default: int, least: int
) -> tuple[int, ...]:
    values = tuple(int(v) for v in given) if given else (default,) * count
    if len(values) != count:
        raise ValueError(f"{name} {values} must have {count} entries")
    if any(not least <= v < 1 << 31 for v in values):
        raise ValueError(f"{name} {values} must be in [{least}, 2**31)")
    return values


def resolve_pads(
    spatial: Sequence[int],
    extent: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str | bytes,
) -> tuple[int, ...]:
    """Explicit pads (begins, then ends) from ONNX's `pads` and `auto_pad`.

    Args:
        spatial: input sizes.
        extent: kernel sizes including dilation.
        strides: step per axis.
        pads: explicit pads for NOTSET, None for zeros.
        auto_pad: NOTSET, VALID, SAME_UPPER or SAME_LOWER.
    """
    mode, count = text(auto_pad) or "NOTSET", len(spatial)
    if mode == "NOTSET":
        return _per_axis("pads", pads, 2 * count, 0, 0)
    if mode == "VALID":
        return (0,) * (2 * count)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad {mode!r} must be NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    totals = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(spatial, extent, strides, strict=True)]
    begins = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in totals]
    return (*begins, *(t - b for t, b in zip(totals, begins, strict=True)))


def window_output(size: int, extent: int, stride: int, begin: int, end: int, ceil_mode: Any = 0) -> int:
    """How many windows fit along one axis. Raises ValueError if none does."""
    room = size + begin + end - extent
    if room < 0:
        raise ValueError(f"a window of {extent} does not fit into {size} + pads ({begin}, {end})")
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    # A window that would start in the padding at the end does not count.
    return count - 1 if ceil_mode and (count - 1) * stride >= size + begin else count


def _taps_inside(low: int, high: int, taps: int, dilation: int) -> int:
    """How many of 0, dilation, ..., (taps - 1) * dilation are in [low, high)."""
    return max(0, min(taps, -(-high // dilation)) - max(0, -(-low // dilation)))


@attrs.frozen
class Window:
    """Geometry of a convolution or pooling, resolved.

    Attributes:
        spatial: input sizes along the spatial axes.
        kernel, strides, dilations: per spatial axis.
        pads: begins, then ends, as the operator states them.
        out: output sizes.
    """

    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    out: tuple[int, ...]

    @classmethod
    def of(
        cls,
        spatial: Sequence[int],
        kernel: Sequence[int] | None,
        strides: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        auto_pad: str | bytes = "NOTSET",
        ceil_mode: Any = 0,
    ) -> Window:
        """The window for an input of `spatial` sizes. Raises ValueError that names the unfit attribute."""
        n = len(spatial)
        if not n:
            raise ValueError("the input has no spatial axis; it must be at least [N, C, L]")
        if not kernel:
            raise ValueError("kernel_shape is missing")
        size = _per_axis("kernel_shape", kernel, n, 1, 1)
        step = _per_axis("strides", strides, n, 1, 1)
        dilation = _per_axis("dilations", dilations, n, 1, 1)
        extent = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
        pad = resolve_pads(spatial, extent, step, pads, auto_pad)
        out = tuple(
            window_output(spatial[i], extent[i], step[i], pad[i], pad[n + i], ceil_mode) for i in range(n)
        )
        return cls(tuple(spatial), size, step, dilation, pad, out)

    @property
    def extent(self) -> tuple[int, ...]:
        """Kernel sizes including dilation."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def full_pads(self) -> tuple[int, ...]:
        """Pads grown at the ends so that every window of a ceil_mode output lies inside."""
        n = len(self.spatial)
        ends = [
            max(
                self.pads[n + i],
                (self.out[i] - 1) * self.strides[i] + self.extent[i] - self.spatial[i] - self.pads[i],
            )
            for i in range(n)
        ]
        return (*self.pads[:n], *ends)

    def counts(self, include_pad: Any) -> list[float]:
        """Row-major number of elements per output window that lie in the input (or, included, in the stated pads)."""
        check_table(prod(self.out))
        totals = [1]
        for i, count in enumerate(self.out):
            low = -self.pads[i] if include_pad else 0
            high = self.spatial[i] + (self.pads[len(self.out) + i] if include_pad else 0)
            starts = (o * self.strides[i] - self.pads[i] for o in range(count))
            row = [_taps_inside(low - s, high - s, self.kernel[i], self.dilations[i]) for s in starts]
            totals = [t * r for t in totals for r in row]
        return [float(t) for t in totals]


def to_channels_first(shape: Sequence[int], layout: str | bytes) -> tuple[int, ...]:
    """Sizes in NCHW order of a value stored in `layout`. Raises ValueError for an unknown layout."""
    name = text(layout)
    if name not in ("NCHW", "NHWC"):
        raise ValueError(f"layout {name!r} must be NCHW or NHWC")
    if len(shape) < 2:
        raise ValueError(f"an input of shape {tuple(shape)} has no batch and channel axes")
    return tuple(shape) if name == "NCHW" else (shape[0], shape[-1], *shape[1:-1])


def from_channels_first(shape: Sequence[int], layout: str | bytes) -> tuple[int, ...]:
    """Sizes in `layout` of a value whose NCHW sizes are `shape`."""
    return tuple(shape) if text(layout) == "NCHW" else (shape[0], *shape[2:], shape[1])


def last_perm(rank: int) -> tuple[int, ...]:
    """Permutation from channels-first to channels-last."""
    return (0, *range(2, rank), 1)


def first_perm(rank: int) -> tuple[int, ...]:
    """Permutation from channels-last to channels-first."""
    return (0, rank - 1, *range(1, rank - 1))


def check_table(entries: int) -> None:
    """Raises ValueError if a table of so many entries is too large to be computed while a graph is prepared."""
    if entries > MAX_TABLE:
        raise ValueError(f"its decomposition needs a table of {entries} entries, more than {MAX_TABLE}")


def require(condition: bool, message: str) -> None:
    """Raises ShapeError with `message` unless `condition` holds; for decompositions, which have no context."""
    if not condition:
        raise ShapeError(message)
