"""Normalisations: batch, instance, group, layer, RMS, Lp, mean-variance and local response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import like, reshape, wide
from walle_core.ops.precision import np_dtype, quiet, widened
from walle_core.ops.rules import (
    ONNX_NUMBERS,
    check_broadcast,
    check_kinds,
    check_vector,
    normal_axes,
    normal_axis,
    onnx_dtype,
    operations,
    reduced_shape,
    rule,
)
from walle_core.types import DType, TensorSpec, dtype


def channels_of(shape: Sequence[int]) -> int:
    """Size of the channel axis; a batch of plain numbers has one channel. Raises ValueError for a scalar."""
    if not shape:
        raise ValueError("a scalar has no channels to normalise")
    return shape[1] if len(shape) > 1 else 1


def _infer_channels(parameters: int) -> Any:
    @rule
    def infer(ctx: OpContext) -> list[TensorSpec]:
        check_kinds(ctx, "f", *range(parameters + 1))
        for index in range(1, parameters + 1):
            check_vector(ctx, index, channels_of(ctx.shape(0)), f"input {index}")
        groups = ctx.attrs.get("num_groups")
        if groups is not None and (groups < 1 or channels_of(ctx.shape(0)) % groups):
            raise ValueError(f"num_groups {groups} must divide the {channels_of(ctx.shape(0))} channels")
        specs = [ctx.spec(0)]
        if parameters == 4 and ctx.attrs["training_mode"]:
            specs += [ctx.spec(3), ctx.spec(4)]
        elif parameters == 4 and ctx.n_outputs > 1:
            raise ValueError("running statistics are outputs in training mode only")
        return specs

    return infer


def _per_channel(v: Any, rank: int) -> Any:
    return v.reshape(-1, *[1] * (rank - 2)) if rank > 1 else v


@quiet
def batch_norm(
    x: Any, scale: Any, bias: Any, mean: Any, var: Any, *, epsilon: float = 1e-5, momentum: float = 0.9, training_mode: int = 0
) -> Any:
    """(x - mean) / sqrt(var + epsilon) * scale + bias per channel; in training mode also the running statistics."""
    wide = np.dtype(np.float64 if x.dtype.name == "float64" else np.float32)
    y, m, v = x.astype(wide), mean.astype(wide), var.astype(wide)
    if training_mode:
        axes = (0, *range(2, x.ndim))
        m, v = np.mean(y, axes), np.var(y, axes)
    factor = scale.astype(wide) / np.sqrt(v + wide.type(epsilon))
    made = ((y - _per_channel(m, x.ndim)) * _per_channel(factor, x.ndim) + _per_channel(bias.astype(wide), x.ndim)).astype(x.dtype)
    if not training_mode:
        return made
    running = [(old.astype(wide) * momentum + new * (1 - momentum)).astype(old.dtype) for old, new in ((mean, m), (var, v))]
    return (made, *running)


_BN = ([1.5, 0.5, -1.0], [0.1, 0.2, 0.3], [0.5, -0.5, 1.0], [0.25, 1.0, 4.0])


@composite(
    "BatchNormalization", "normalization", reference=batch_norm, infer=_infer_channels(4), flops=operations(2), ulp=16,
    samples=(
        Sample(((2, 3, 4, 5), *_BN)),
        Sample(((2, 3), *_BN), {"epsilon": 1e-2}),
        Sample(((2, 3, 4), *_BN), {"training_mode": 1}),
    ),
)  # fmt: skip
def batch_norm_graph(
    g: Any, x: str, scale: str, bias: str, mean: str, var: str, *, epsilon: float = 1e-5, momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:  # fmt: skip
    """Scale and shift of every channel to the given mean and variance (training: to those of the batch)."""
    rank = len(g.shape(x))
    big, (s, b, m, v) = wide(g, x), [wide(g, p) for p in (scale, bias, mean, var)]
    if g.dtype(wide).name == "float64":
        s, b, m, v = (p if g.dtype(p) == g.dtype(wide) else g.CastLike(p, wide) for p in (s, b, m, v))

    def channel(p: str) -> str:
        return reshape(g, p, -1, *[1] * (rank - 2)) if rank > 1 else p

    if training_mode:
        axes = g.const([0, *range(2, rank)], "int64")
        old_m, old_v = m, v
        m = g.ReduceMean(wide, axes, keepdims=0)
        d = g.Sub(wide, channel(m))
        v = g.ReduceMean(g.Mul(d, d), axes, keepdims=0)
    factor = g.Div(s, g.Sqrt(g.Add(v, g.const(epsilon, like=v))))
    y = g.Add(g.Mul(g.Sub(wide, channel(m)), channel(factor)), channel(b))
    y = like(g, y, x)
    if not training_mode:
        return y

    def running(old: str, new: str, original: str) -> str:
        kept, added = g.Mul(old, g.const(momentum, like=old)), g.Mul(new, g.const(1 - momentum, like=new))
        return like(g, g.Add(kept, added), original)

    return y, running(old_m, m, mean), running(old_v, v, var)


def _standardised(x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
    mean = np.mean(x, axes, keepdims=True)
    d = x - mean
    inverse = 1 / np.sqrt(np.mean(d * d, axes, keepdims=True) + x.dtype.type(epsilon))
    return d * inverse, mean, inverse


def _standardise(g: Any, x: str, axes: Sequence[int], epsilon: float) -> tuple[str, str, str]:
    """(x - mean) / sqrt(variance + epsilon) over `axes`, the mean and the inverse standard deviation."""
    over = g.const(list(axes), "int64")
    mean = g.ReduceMean(x, over)
    d = g.Sub(x, mean)
    inverse = g.Reciprocal(g.Sqrt(g.Add(g.ReduceMean(g.Mul(d, d), over), g.const(epsilon, like=x))))
    return g.Mul(d, inverse), mean, inverse


@widened
def instance_norm(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Any:
    """Normalises every channel of every instance over its spatial axes."""
    y, _, _ = _standardised(x, tuple(range(2, x.ndim)), epsilon)
    return y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim)


_VECTORS = ([1.0, 2.0, 0.5, -1.0], [0.0, 1.0, -1.0, 0.5])


@composite(
    "InstanceNormalization", "normalization", reference=instance_norm, infer=_infer_channels(2), flops=operations(8),
    ulp=32, samples=(Sample(((2, 4, 5, 6), *_VECTORS)), Sample(((1, 4, 9), *_VECTORS), {"epsilon": 0.1})),
)  # fmt: skip
def instance_norm_graph(g: Any, x: str, scale: str, bias: str, *, epsilon: float = 1e-5) -> Any:
    """Zero mean and unit variance for every channel of every instance, then scale and bias per channel."""
    rank, wide = len(g.shape(x)), wide(g, x)
    y, _, _ = _standardise(g, wide, range(2, rank), epsilon)
    s, b = (reshape(g, wide(g, p), -1, *[1] * (rank - 2)) for p in (scale, bias))
    return like(g, g.Add(g.Mul(y, s), b), x)


@quiet
def group_norm(x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    """Normalises groups of channels of every instance over the group and its spatial axes."""
    wide = x.astype(np_dtype(onnx_dtype(stash_type))).reshape(x.shape[0], num_groups, -1)
    y, _, _ = _standardised(wide, (2,), epsilon)
    y = y.reshape(x.shape).astype(x.dtype)
    return y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim)


@composite(
    "GroupNormalization", "normalization", reference=group_norm, infer=_infer_channels(2), flops=operations(8), ulp=32,
    samples=(
        Sample(((2, 4, 5, 6), *_VECTORS), {"num_groups": 2}),
        Sample(((1, 4, 9), *_VECTORS), {"num_groups": 4, "epsilon": 0.1}),
    ),
)  # fmt: skip
def group_norm_graph(
    g: Any, x: str, scale: str, bias: str, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    """Zero mean and unit variance for groups of channels, then scale and bias per channel."""
    shape = g.shape(x)
    wide = _stashed(g, x, stash_type)
    y, _, _ = _standardise(g, reshape(g, wide, shape[0], num_groups, prod(shape[1:]) // num_groups), [2], epsilon)
    y = like(g, reshape(g, y, *shape), x)
    s, b = (reshape(g, p, -1, *[1] * (len(shape) - 2)) for p in (scale, bias))
    return g.Add(g.Mul(y, s), b)


def _stashed(g: Any, x: str, stash_type: int) -> str:
    """x in the precision that `stash_type` asks for."""
    name = onnx_dtype(stash_type)
    return x if g.dtype(x).name == name else str(g.Cast(x, to=ONNX_NUMBERS[name]))


def _infer_trailing(result: Callable[[OpContext], DType]) -> Any:
    @rule
    def infer(ctx: OpContext) -> list[TensorSpec]:
        check_kinds(ctx, "f", 0, 1, 2)
        shape = ctx.shape(0)
        axis = normal_axis(ctx.attrs["axis"], len(shape))
        for index in (1, 2):
            if ctx.has(index):
                check_broadcast(f"input {index}", ctx.shape(index), shape)
        statistic = TensorSpec(dtype(onnx_dtype(ctx.attrs["stash_type"])), reduced_shape(shape, range(axis, len(shape)), 1))
        return [TensorSpec(result(ctx), shape), statistic, statistic]

    return infer


@quiet
def layer_norm(x: Any, scale: Any, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    """Normalises over the axes from `axis` on; also returns the mean and the inverse standard deviation."""
    axes = tuple(range(normal_axis(axis, x.ndim), x.ndim))
    y, mean, inverse = _standardised(x.astype(np_dtype(onnx_dtype(stash_type))), axes, epsilon)
    y = y.astype(x.dtype) * scale
    return (y if bias is None else y + bias).astype(x.dtype), mean, inverse


@composite(
    "LayerNormalization", "normalization", reference=layer_norm, infer=_infer_trailing(lambda ctx: ctx.dtype(0)),
    flops=operations(8), ulp=32,
    samples=(
        Sample(((2, 5, 64), (64,), (64,))),
        Sample(((3, 4, 5), (4, 5)), {"axis": 1}),
        Sample(((3, 4, 5), (3, 4, 5), (5,)), {"axis": 0, "epsilon": 0.1}),
    ),
)  # fmt: skip
def layer_norm_graph(
    g: Any, x: str, scale: str, bias: str | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    """Zero mean and unit variance over the last axes, then scale and bias; also the statistics."""
    rank = len(g.shape(x))
    y, mean, inverse = _standardise(g, _stashed(g, x, stash_type), range(normal_axis(axis, rank), rank), epsilon)
    y = g.Mul(like(g, y, x), scale)
    return (g.Add(y, bias) if bias else y), mean, inverse


@quiet
def rms_norm(x: Any, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    """x / sqrt(mean(x * x) + epsilon) over the axes from `axis` on, times scale."""
    axes = tuple(range(normal_axis(axis, x.ndim), x.ndim))
    wide = x.astype(np_dtype(onnx_dtype(stash_type)))
    root = np.sqrt(np.mean(wide * wide, axes, keepdims=True) + wide.dtype.type(epsilon))
    return ((wide / root).astype(x.dtype) * scale).astype(scale.dtype)


@composite(
    "RMSNormalization", "normalization", reference=rms_norm, infer=_infer_trailing(lambda ctx: ctx.dtype(1)),
    flops=operations(5), ulp=32, samples=(Sample(((2, 5, 64), (64,))), Sample(((3, 4, 5), (4, 5)), {"axis": 1})),
)  # fmt: skip
def rms_norm_graph(g: Any, x: str, scale: str, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    """Unit root mean square over the last axes, times scale."""
    rank, wide = len(g.shape(x)), _stashed(g, x, stash_type)
    axes = g.const(list(range(normal_axis(axis, rank), rank)), "int64")
    root = g.Sqrt(g.Add(g.ReduceMean(g.Mul(wide, wide), axes), g.const(epsilon, like=wide)))
    y = like(g, g.Div(wide, root), x)
    return g.Mul(like(g, y, scale), scale)


@rule
def _infer_lp(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    normal_axis(ctx.attrs["axis"], len(ctx.shape(0)))
    if ctx.attrs["p"] not in (1, 2):
        raise ValueError(f"p {ctx.attrs['p']} must be 1 or 2")
    return [ctx.spec(0)]


@widened
def _lp_norm(x: Any, *, axis: int = -1, p: int = 2) -> Any:
    norm = np.sum(np.abs(x), axis, keepdims=True) if p == 1 else np.sqrt(np.sum(x * x, axis, keepdims=True))
    return np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm)).astype(x.dtype)


@composite(
    "LpNormalization", "normalization", reference=_lp_norm, infer=_infer_lp, flops=operations(4), ulp=16,
    samples=(Sample(((3, 7),)), Sample(((3, 7),), {"p": 1, "axis": 0}), Sample(([[0.0, 0.0], [3.0, 4.0]],))),
)  # fmt: skip
def lp_norm_graph(g: Any, x: str, *, axis: int = -1, p: int = 2) -> Any:
    """x divided by its p-norm along an axis; zero where the norm is zero."""
    axes = g.const([axis], "int64")
    norm = g.ReduceL1(x, axes) if p == 1 else g.ReduceL2(x, axes)
    return g.Div(x, g.Where(g.Equal(norm, g.const(0, like=x)), g.const(1, like=x), norm))


@rule
def _infer_mvn(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    normal_axes(ctx.attrs["axes"], len(ctx.shape(0)))
    return [ctx.spec(0)]


@widened
def _mvn(x: Any, *, axes: Sequence[int] = (0, 2, 3)) -> Any:
    d = x - np.mean(x, tuple(axes), keepdims=True)
    return d / (np.sqrt(np.mean(d * d, tuple(axes), keepdims=True)) + x.dtype.type(1e-9))


@composite(
    "MeanVarianceNormalization", "normalization", reference=_mvn, infer=_infer_mvn, flops=operations(6), ulp=32,
    samples=(Sample(((2, 3, 4, 5),)), Sample(((4, 9),), {"axes": (1,)})),
)  # fmt: skip
def mvn_graph(g: Any, x: str, *, axes: Sequence[int] = (0, 2, 3)) -> Any:
    """(x - mean) / standard deviation over axes."""
    over = g.const(list(axes), "int64")
    d = g.Sub(x, g.ReduceMean(x, over))
    deviation = g.Sqrt(g.ReduceMean(g.Mul(d, d), over))
    return g.Div(d, g.Add(deviation, g.const(1e-9, like=x)))


@rule
def _infer_lrn(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    if len(ctx.shape(0)) < 2:
        raise ValueError("needs a batch and a channel axis")
    if not 1 <= ctx.attrs["size"] < 1 << 31:
        raise ValueError(f"size {ctx.attrs['size']} must be positive")
    return [ctx.spec(0)]


@widened
def _lrn(x: Any, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Any:
    before, after = (size - 1) // 2, size // 2
    squares = x * x
    total = np.zeros_like(x)
    for c in range(x.shape[1]):
        total[:, c] = np.sum(squares[:, max(0, c - before) : c + after + 1], 1)
    return x / np.power(x.dtype.type(bias) + x.dtype.type(alpha / size) * total, x.dtype.type(beta))


@composite(
    "LRN", "normalization", reference=_lrn, infer=_infer_lrn, flops=lambda ctx, outs: outs[0].size * (ctx.attrs["size"] + 12.0),
    ulp=16, samples=(Sample(((2, 7, 3, 4),), {"size": 3, "alpha": 0.1}), Sample(((1, 5, 4),), {"size": 4, "beta": 0.5})),
)  # fmt: skip
def lrn_graph(g: Any, x: str, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Any:
    """Division by a power of the sum of squares over neighbouring channels."""
    shape = g.shape(x)
    squares = reshape(g, g.Mul(x, x), shape[0], 1, shape[1], prod(shape[2:]))
    columns = g.Im2Col(squares, kernel_shape=(size, 1), pads=((size - 1) // 2, 0, size // 2, 0))
    total = reshape(g, g.ReduceSum(columns, g.const([2], "int64"), keepdims=0), *shape)
    base = g.Add(g.const(bias, like=x), g.Mul(g.const(alpha / size, like=x), total))
    return g.Div(x, g.Pow(base, g.const(beta, like=x)))
