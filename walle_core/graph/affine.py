"""What QuantizeLinear and DequantizeLinear nodes say: scale, zero point and type of 8-bit values, in plain numbers."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import attrs

from walle_core.graph.ir import Node

RANGES = {"uint8": (0, 255), "int8": (-128, 127)}
SCALES = (1e-25, 1e25)  # beyond, float32 arithmetic on 8-bit values may overflow or vanish


def f32(value: float) -> float:
    """The nearest float32."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def numbers(tensor: Any) -> list[Any]:
    """All elements of a tensor."""
    values = tensor.reshape(-1).tolist()
    return values if isinstance(values, list) else [values]


@attrs.frozen
class Affine:
    """value = (integer - zero) * scale.

    Attributes:
        name: the integer value in the graph.
        dtype: ``uint8`` or ``int8``.
        scale: float32.
        zero: zero point.
    """

    name: str
    dtype: str
    scale: float
    zero: int

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer."""
        return RANGES[self.dtype]

    @property
    def number(self) -> int:
        """ONNX's number of the dtype."""
        return 2 if self.dtype == "uint8" else 3

    def same(self, other: Affine) -> bool:
        """True if integers of both mean the same values."""
        return (self.dtype, self.scale, self.zero) == (other.dtype, other.scale, other.zero)

    def quantised(self, value: float) -> int:
        """The integer of a real value; that of NaN is 0."""
        low, high = self.limits
        scaled = f32(f32(value) / self.scale) if not math.isinf(value) else value
        if math.isnan(scaled):
            return 0
        if math.isinf(scaled):
            return high if scaled > 0 else low
        return min(max(round(scaled) + self.zero, low), high)


def affine_of(node: Node | None, constants: Mapping[str, Any], integer: str, dtype: str) -> Affine | None:
    """Parameters of a per-tensor node of 8-bit integers and float32; None for all others.

    Args:
        node: a QuantizeLinear or DequantizeLinear.
        constants: of the graph.
        integer: the integer side of the node.
        dtype: its dtype where it is known; "" reads the zero point's.
    """
    if (
        node is None
        or len(node.inputs) < 2
        or node.inputs[1] not in constants
        or node.attrs.get("block_size", 0)
    ):
        return None
    scale, zero = constants[node.inputs[1]], 0
    if len(node.inputs) > 2 and node.inputs[2]:
        if node.inputs[2] not in constants or constants[node.inputs[2]].size != 1:
            return None
        zero, dtype = int(numbers(constants[node.inputs[2]])[0]), str(constants[node.inputs[2]].dtype)
    elif node.op == "QuantizeLinear":
        dtype = {0: "uint8", 2: "uint8", 3: "int8"}.get(node.attrs.get("output_dtype", 0), "")
    if scale.size != 1 or str(scale.dtype) != "float32" or dtype not in RANGES:
        return None
    if any(
        node.attrs.get(k, 0) not in (0, 1)
        for k in ("precision", "output_dtype")
        if node.op == "DequantizeLinear"
    ):
        return None
    value = float(numbers(scale)[0])
    return Affine(integer, dtype, value, zero) if SCALES[0] < value < SCALES[1] else None
