"""Conversions between element types: Cast, CastLike, BitCast."""

from __future__ import annotations

from typing import Any

from walle_core.ops.define import Adjoint, OpContext, Sample, atomic, composite
from walle_core.ops.element_types import element_type, number_of
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import np_dtype
from walle_core.ops.rules import rule, text
from walle_core.types import DType, TensorSpec

E8M0_BIAS = 127
SPECIAL = {"inf": "INF", "-inf": "-INF", "nan": "NaN"}


@rule
def _cast_infer(ctx: OpContext) -> list[TensorSpec]:
    return [TensorSpec(element_type(ctx.attrs["to"]), ctx.spec(0).shape)]


def _parse(value: Any) -> float:
    return float(value)


def _plain(value: Any) -> str:
    """ONNX's text of a number: no exponent, no trailing zeros."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    found = str(value)
    if found in SPECIAL:
        return SPECIAL[found]
    if isinstance(value, float | np.floating):
        return str(np.format_float_positional(value, trim="-"))
    return found


def _to_e8m0(x: Any, saturate: bool, round_mode: str) -> Any:
    """Powers of two with 8 bits of exponent (OCP Microscaling Formats 1.0, section 5.4.1)."""
    wide = x.astype(np.float32).astype(np.float64)
    mantissa, exponent = np.frexp(np.abs(wide))  # |x| = mantissa * 2**exponent with mantissa in [0.5, 1)
    up = {"up": mantissa > 0.5, "down": np.zeros(x.shape, bool), "nearest": mantissa >= 0.75}[round_mode]
    biased = np.where(wide == 0, -1, exponent - 1 + up + E8M0_BIAS)
    biased = np.where(np.isinf(wide), 256, biased)
    low, high, invalid = 0, 254, 255
    out = (
        np.clip(biased, low, high)
        if saturate
        else np.where((biased < low) | (biased > high), invalid, biased)
    )
    return np.where(np.isnan(wide), invalid, out).astype(np.uint8).view(np_dtype("float8_e8m0fnu"))


def convert(x: Any, to: DType, saturate: bool = True, round_mode: str = "up") -> Any:
    """An array in another element type by ONNX's Cast rules; strings are object arrays."""
    target = np_dtype(to.name)
    if x.dtype.kind in "OUS":
        if to.kind == "s":
            return x.astype(object)
        if to.kind == "f":
            return np.array([_parse(v) for v in x.reshape(-1)], np.float64).reshape(x.shape).astype(target)
        return (
            np.array([int(_parse(v)) if "." in str(v) else int(v) for v in x.reshape(-1)])
            .reshape(x.shape)
            .astype(target)
        )
    if to.kind == "s":
        return np.array([_plain(v) for v in x.reshape(-1)], object).reshape(x.shape)
    with np.errstate(all="ignore"):
        if to.name == "float8_e8m0fnu":
            return _to_e8m0(x, saturate, round_mode)
        if to.kind == "b":
            return x.astype(np.float32) != 0 if x.dtype.kind == "V" or x.dtype.itemsize == 1 else x != 0
        if to.name.startswith("float8") and saturate:
            limit = np.float32(_largest(target))
            wide = x.astype(np.float32)
            return np.where(np.isnan(wide), wide, np.clip(wide, -limit, limit)).astype(target)
        if x.dtype.kind == "V" and to.kind in "iu":
            return x.astype(np.float32).astype(target) if "float" in x.dtype.name else x.astype(target)
        return x.astype(target)


def _largest(dtype: Any) -> float:
    import ml_dtypes

    finfo: Any = ml_dtypes.finfo
    return float(finfo(dtype).max)


def _cast_gradient(g: Any, at: Adjoint) -> list[str | None]:
    x = at.inputs[0] or ""
    return [g.Cast(at.grads[0], to=number_of(g.dtype(x))) if g.dtype(x).kind == "f" else None]


@atomic(
    "Cast",
    "cast",
    gradient=_cast_gradient,
    infer=_cast_infer,
    domain=(-100.0, 100.0),
    dtypes=("float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool"),
    samples=(Sample(((3, 5),), {"to": 7}), Sample(((3, 5),), {"to": 1}), Sample(((3, 5),), {"to": 9})),
)
def cast(input: Any, *, to: int | str, saturate: int = 1, round_mode: str = "up") -> Any:
    """Converts every element to another type."""
    return convert(input, element_type(to), bool(saturate), text(round_mode))


@rule
def _cast_like_infer(ctx: OpContext) -> list[TensorSpec]:
    return [TensorSpec(ctx.dtype(1), ctx.spec(0).shape)]


def _cast_like_reference(input: Any, target_type: Any, *, saturate: int = 1, round_mode: str = "up") -> Any:
    name = "string" if target_type.dtype.kind in "OUS" else target_type.dtype.name
    return convert(input, element_type(name), bool(saturate), text(round_mode))


@composite(
    "CastLike",
    "cast",
    infer=_cast_like_infer,
    reference=_cast_like_reference,
    samples=(Sample(((3, 5), (2,)), {}, ("float32", "int32")),),
)
def cast_like(g: Any, input: str, target_type: str, *, saturate: int = 1, round_mode: str = "up") -> Any:
    """Converts every element to the type of another tensor."""
    return g.Cast(input, to=number_of(g.dtype(target_type)), saturate=saturate, round_mode=round_mode)


@rule
def _bit_cast_infer(ctx: OpContext) -> list[TensorSpec]:
    to = element_type(ctx.attrs["to"])
    if to.bits != ctx.dtype(0).bits or to.kind == "s":
        raise ValueError(f"{to} has not the {ctx.dtype(0).bits} bits of {ctx.dtype(0)}")
    return [TensorSpec(to, ctx.spec(0).shape)]


@atomic("BitCast", "cast", infer=_bit_cast_infer, samples=(Sample(((3, 5),), {"to": 6}),))
def bit_cast(input: Any, *, to: int | str) -> Any:
    """Reads the same bits as another type of equal width."""
    target = np_dtype(element_type(to).name)
    return np.ascontiguousarray(input).reshape(-1).view(target).reshape(input.shape)
