"""Random tensors. Results are reproducible for a seed, not equal between backends; without a seed every run differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core.ops.define import OpContext, Sample, atomic
from walle_core.ops.element_types import element_type
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import np_dtype
from walle_core.ops.rules import check_kinds, require, rule
from walle_core.types import DType, TensorSpec


def generator(seed: float | None) -> Any:
    """A NumPy generator; the seed's float32 bits choose the stream."""
    return np.random.default_rng(None if seed is None else int(np.float32(seed).view(np.uint32)))


def _dtype(number: int | None, like: DType | None) -> DType:
    dtype = element_type(number) if number else like
    require(dtype is not None and dtype.kind == "f", f"random values need a floating-point type, not {dtype}")
    assert dtype is not None
    return dtype


@rule
def _infer(ctx: OpContext) -> Sequence[TensorSpec]:
    if "shape" in ctx.attrs:
        shape = tuple(int(d) for d in ctx.attrs["shape"])
        require(all(d >= 0 for d in shape), f"shape {shape} has a negative size")
        return [TensorSpec(_dtype(ctx.attrs["dtype"], None), shape)]
    return [TensorSpec(_dtype(ctx.attrs["dtype"], ctx.dtype(0)), ctx.shape(0))]


def _normal(shape: Sequence[int], dtype: str, mean: float, scale: float, seed: float | None) -> Any:
    return (generator(seed).standard_normal(tuple(shape)) * scale + mean).astype(np_dtype(dtype))


def _uniform(shape: Sequence[int], dtype: str, low: float, high: float, seed: float | None) -> Any:
    return (generator(seed).random(tuple(shape)) * (high - low) + low).astype(np_dtype(dtype))


def _name(x: Any, dtype: int | None) -> str:
    return element_type(dtype).name if dtype else str(x.dtype.name)


@atomic(
    "RandomNormal",
    "random",
    infer=_infer,
    deterministic=False,
    samples=(Sample((), {"shape": (3, 5), "seed": 1.0}),),
)
def random_normal(
    *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Sequence[int]
) -> Any:
    """Normally distributed values of a given shape."""
    return _normal(shape, element_type(dtype).name, mean, scale, seed)


@atomic(
    "RandomNormalLike",
    "random",
    gradient=lambda _g, _at: (None,),
    infer=_infer,
    deterministic=False,
    samples=(Sample(((3, 5),), {"seed": 1.0}),),
)
def random_normal_like(
    input: Any, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Any:
    """Normally distributed values in the shape of another tensor."""
    return _normal(input.shape, _name(input, dtype), mean, scale, seed)


@atomic(
    "RandomUniform",
    "random",
    infer=_infer,
    deterministic=False,
    samples=(Sample((), {"shape": (3, 5), "seed": 1.0}),),
)
def random_uniform(
    *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Sequence[int]
) -> Any:
    """Uniformly distributed values of a given shape."""
    return _uniform(shape, element_type(dtype).name, low, high, seed)


@atomic(
    "RandomUniformLike",
    "random",
    gradient=lambda _g, _at: (None,),
    infer=_infer,
    deterministic=False,
    samples=(Sample(((3, 5),), {"seed": 1.0}),),
)
def random_uniform_like(
    input: Any, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> Any:
    """Uniformly distributed values in the shape of another tensor."""
    return _uniform(input.shape, _name(input, dtype), low, high, seed)


@rule
def _infer_bernoulli(ctx: OpContext) -> Sequence[TensorSpec]:
    check_kinds(ctx, "f", 0)
    return [
        TensorSpec(element_type(ctx.attrs["dtype"]) if ctx.attrs["dtype"] else ctx.dtype(0), ctx.shape(0))
    ]


@atomic(
    "Bernoulli", "random", infer=_infer_bernoulli, deterministic=False, domain=(0.0, 1.0),
    samples=(Sample(((3, 5),), {"seed": 1.0}),),
)  # fmt: skip
def bernoulli(input: Any, *, dtype: int | None = None, seed: float | None = None) -> Any:
    """1 with the probability that the input gives, else 0."""
    return (generator(seed).random(input.shape) < input.astype(np.float64)).astype(
        np_dtype(_name(input, dtype))
    )


@rule
def _infer_multinomial(ctx: OpContext) -> Sequence[TensorSpec]:
    shape = ctx.shape(0)
    require(len(shape) == 2, f"log-probabilities must be [batch, classes], not {shape}")
    return [TensorSpec(element_type(ctx.attrs["dtype"]), (shape[0], int(ctx.attrs["sample_size"])))]


@atomic(
    "Multinomial", "random", infer=_infer_multinomial, deterministic=False,
    samples=(Sample(((3, 5),), {"seed": 1.0, "sample_size": 4}),),
)  # fmt: skip
def multinomial(input: Any, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Any:
    """Class indices drawn with unnormalized log-probabilities [batch, classes]: [batch, sample_size]."""
    wide = input.astype(np.float64)
    weight = np.cumsum(np.exp(wide - wide.max(axis=1, keepdims=True)), axis=1)
    draws = generator(seed).random((len(wide), sample_size)) * weight[:, -1:]
    rows = [np.searchsorted(w, d, side="right") for w, d in zip(weight, draws, strict=True)]
    drawn = np.array(rows, np.int64).reshape(len(wide), sample_size)
    return np.minimum(drawn, wide.shape[1] - 1).astype(np_dtype(element_type(dtype).name))
