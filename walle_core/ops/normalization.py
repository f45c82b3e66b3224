"""Normalisation with statistics per channel or group of channels: batch, instance and group."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import like, reshape, wider
from walle_core.ops.precision import average, np_dtype, quiet, widened
from walle_core.ops.rules import (
    ONNX_NUMBERS,
    check_kinds,
    check_vector,
    onnx_dtype,
    operations,
    rule,
)
from walle_core.types import TensorSpec


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
    x: Any,
    scale: Any,
    bias: Any,
    mean: Any,
    var: Any,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:
    """(x - mean) / sqrt(var + epsilon) * scale + bias per channel; in training mode also the running statistics."""
    wide = np.dtype(np.float64 if x.dtype.name == "float64" else np.float32)
    y, m, v = x.astype(wide), mean.astype(wide), var.astype(wide)
    if training_mode:
        axes = (0, *range(2, x.ndim))
        m = average(y, axes)
        v = average((y - _per_channel(m, y.ndim)) ** 2, axes)
    factor = scale.astype(wide) / np.sqrt(v + wide.type(epsilon))
    made = (
        (y - _per_channel(m, x.ndim)) * _per_channel(factor, x.ndim) + _per_channel(bias.astype(wide), x.ndim)
    ).astype(x.dtype)
    if not training_mode:
        return made
    running = [
        (old.astype(wide) * momentum + new * (1 - momentum)).astype(old.dtype)
        for old, new in ((mean, m), (var, v))
    ]
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
    wide, (s, b, m, v) = wider(g, x), [wider(g, p) for p in (scale, bias, mean, var)]
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


def standardised(x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
    """(x - mean) / sqrt(variance + epsilon) over `axes`, the mean and the inverse standard deviation."""
    mean = average(x, axes, keepdims=True)
    d = x - mean
    inverse = 1 / np.sqrt(average(d * d, axes, keepdims=True) + x.dtype.type(epsilon))
    return d * inverse, mean, inverse


def standardise(g: Any, x: str, axes: Sequence[int], epsilon: float) -> tuple[str, str, str]:
    """(x - mean) / sqrt(variance + epsilon) over `axes`, the mean and the inverse standard deviation."""
    over = g.const(list(axes), "int64")
    mean = g.ReduceMean(x, over)
    d = g.Sub(x, mean)
    inverse = g.Reciprocal(g.Sqrt(g.Add(g.ReduceMean(g.Mul(d, d), over), g.const(epsilon, like=x))))
    return g.Mul(d, inverse), mean, inverse


@widened
def instance_norm(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Any:
    """Normalises every channel of every instance over its spatial axes."""
    y, _, _ = standardised(x, tuple(range(2, x.ndim)), epsilon)
    return y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim)


_VECTORS = ([1.0, 2.0, 0.5, -1.0], [0.0, 1.0, -1.0, 0.5])


@composite(
    "InstanceNormalization", "normalization", reference=instance_norm, infer=_infer_channels(2), flops=operations(8),
    ulp=32, samples=(Sample(((2, 4, 5, 6), *_VECTORS)), Sample(((1, 4, 9), *_VECTORS), {"epsilon": 0.1})),
)  # fmt: skip
def instance_norm_graph(g: Any, x: str, scale: str, bias: str, *, epsilon: float = 1e-5) -> Any:
    """Zero mean and unit variance for every channel of every instance, then scale and bias per channel."""
    rank, wide = len(g.shape(x)), wider(g, x)
    y, _, _ = standardise(g, wide, range(2, rank), epsilon)
    s, b = (reshape(g, wider(g, p), -1, *[1] * (rank - 2)) for p in (scale, bias))
    return like(g, g.Add(g.Mul(y, s), b), x)


@quiet
def group_norm(
    x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    """Normalises groups of channels of every instance over the group and its spatial axes."""
    wide = x.astype(np_dtype(onnx_dtype(stash_type)))
    wide = wide.reshape(x.shape[0], num_groups, prod(x.shape[1:]) // num_groups)
    y, _, _ = standardised(wide, (2,), epsilon)
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
    wide = stashed(g, x, stash_type)
    y, _, _ = standardise(
        g, reshape(g, wide, shape[0], num_groups, prod(shape[1:]) // num_groups), [2], epsilon
    )
    y = like(g, reshape(g, y, *shape), x)
    s, b = (reshape(g, p, -1, *[1] * (len(shape) - 2)) for p in (scale, bias))
    return g.Add(g.Mul(y, s), b)


def stashed(g: Any, x: str, stash_type: int) -> str:
    """X in the precision that `stash_type` asks for."""
    name = onnx_dtype(stash_type)
    return x if g.dtype(x).name == name else str(g.Cast(x, to=ONNX_NUMBERS[name]))
