"""Element types as operator attributes name them: ONNX's numbers, or the dtype's name."""

from __future__ import annotations

from walle_core.types import DTYPES, DType

# onnx.proto, TensorProto.DataType
NUMBERS = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip


def element_type(value: int | str | DType) -> DType:
    """The DType that an attribute means. Raises ValueError if there is none."""
    if isinstance(value, DType):
        return value
    name = NUMBERS.get(value, "") if isinstance(value, int) else value
    if name not in DTYPES:
        raise ValueError(
            f"{value!r} is no element type; use a TensorProto.DataType number or one of {', '.join(DTYPES)}"
        )
    return DTYPES[name]


def number_of(dtype: DType) -> int:
    """ONNX's number for a dtype, as the attribute `to` of Cast holds it."""
    return next(number for number, name in NUMBERS.items() if name == dtype.name)
