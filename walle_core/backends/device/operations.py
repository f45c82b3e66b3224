"""Which operators the kernels have, in the terms of kernel tables, so that the tables' rules answer for devices too."""

from __future__ import annotations

import attrs

from walle_core.backends.device.contract import Limits
from walle_core.backends.device.source import operations

# element type of a kernel's variant by dtype
TYPES = {"float32": "f32", "int32": "i32", "int64": "i64", "uint8": "u8", "int8": "i8", "bool": "u8"}
ELEMENTS = {1: "u8", 2: "u16", 4: "u32", 8: "u32x2", 16: "u32x4"}
NEEDS = {1: "uint8", 2: "uint16"}  # dtype that a device must have to move elements of a size

LOGICAL = ("And", "Or", "Xor")
BITWISE = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
ARITHMETIC = ("Add", "Sub", "Mul", "Max", "Min")
COMPARE = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
REDUCE = ("Sum", "Max", "Min", "Prod", "Mean", "SumSquare", "L1", "LogSumExp", "ArgMax", "ArgMin")
BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Max", "Min", "Fmod", "Mod"})
ROWS = {
    ("softmax", "Softmax"), ("softmax", "LogSoftmax"), ("norm", "LayerNorm"), ("norm", "RmsNorm"), ("cumsum", "Sum"),
    ("pool", "Max"), ("pool", "Average"), ("pool", "GlobalMax"), ("pool", "GlobalAverage"), ("depthwise", "conv"),
    *(("reduce", op) for op in REDUCE),
}  # fmt: skip


@attrs.frozen
class Operations:
    """The kernels of a device as the rows of a table."""

    limits: Limits

    def kernel(self, family: str, op: str, dtype: str = "float32") -> bool | None:
        """True if there is a kernel for the operator and dtype under the limits, else None, as a table answers."""
        return self._has(family, op, dtype) or None

    def _has(self, family: str, op: str, dtype: str) -> bool:
        if family in ("raster", "fill"):
            return self._movable(int(op))
        if family == "gather":
            return op == "4" or "int64" in self.limits.dtypes
        if family == "select":
            return "uint8" in self.limits.dtypes
        if family == "convert":
            return self._numbers(op) and self._numbers(dtype)
        if family == "expression":
            return dtype == "float32"
        if dtype == "float32" and family in ("unary", "binary") and op in operations("elementwise"):
            return (op in BINARY) == (family == "binary")
        if family == "binary":
            return self._integers(op, dtype)
        if (family, op) == ("unary", "Not"):
            return "uint8" in self.limits.dtypes
        return dtype == "float32" and (family, op) in ROWS

    def _movable(self, size: int) -> bool:
        return size in ELEMENTS and NEEDS.get(size, "float32") in self.limits.dtypes

    def _numbers(self, dtype: str) -> bool:
        return dtype in TYPES and ("uint8" if dtype == "bool" else dtype) in self.limits.dtypes

    def _integers(self, op: str, dtype: str) -> bool:
        if dtype == "bool":
            return op in (*LOGICAL, "Equal") and "uint8" in self.limits.dtypes
        known = dtype in ("int32", "int64", "uint8") and self._numbers(dtype)
        if op in COMPARE:
            return (known or dtype == "float32") and "uint8" in self.limits.dtypes
        return known and op in (*ARITHMETIC, *BITWISE)
