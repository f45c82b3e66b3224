"""TensorProto -> Tensor. What a tensor declares is compared with the bytes that are there before memory is taken."""

from __future__ import annotations

import struct
import sys
from array import array
from math import prod
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import ModelError, UnsupportedError
from walle_core.frontends.onnx import schema as s
from walle_core.frontends.onnx.external import ExternalData
from walle_core.frontends.onnx.limits import Limits
from walle_core.frontends.onnx.wire import MalformedError, concat, count_varints, decode, varints
from walle_core.strings import StringTensor
from walle_core.types import DType, TensorSpec
from walle_core.types import dtype as as_dtype

# dtype -> the typed field that holds it when raw_data is absent; int32_data holds whatever has no field of its own
_FIELDS = {
    "float32": "float_data", "complex64": "float_data", "float64": "double_data", "complex128": "double_data",
    "int64": "int64_data", "uint32": "uint64_data", "uint64": "uint64_data",
}  # fmt: skip
_CODES = {  # array codes by item size and signedness, for values that travel in int32_data, int64_data, uint64_data
    (1, "i"): "b", (1, "u"): "B", (2, "i"): "h", (2, "u"): "H", (4, "i"): "i", (4, "u"): "I", (8, "i"): "q", (8, "u"): "Q",
}  # fmt: skip


class TensorReader:
    """Decodes the tensors of one model.

    Args:
        limits: ceilings on what a tensor may declare.
        external: where data outside the model file lies; None refuses such data.
    """

    def __init__(self, limits: Limits, external: ExternalData | None) -> None:
        self.limits = limits
        self.external = external

    def read(self, view: memoryview, where: str) -> tuple[str, Any]:
        """(name, Tensor or StringTensor) of a TensorProto.

        Raises ModelError or UnsupportedError that name `where` and the tensor.
        """
        name = ""
        try:
            fields = decode(view, s.TENSOR)
            name = fields["name"]
            return name, self._tensor(fields, f"{where}: tensor {name!r}")
        except MalformedError as error:
            raise ModelError(f"{where}: tensor {name!r} is damaged: {error}") from None

    def spec(self, data_type: int, dims: list[int], where: str) -> TensorSpec:
        """The dtype and sizes as declared, checked against the limits."""
        if len(dims) > self.limits.max_rank:
            raise ModelError(f"{where}: {len(dims)} dimensions, at most {self.limits.max_rank} are taken")
        if any(d < 0 for d in dims):
            raise ModelError(f"{where}: negative size in shape {dims}")
        spec = TensorSpec(element_type(data_type, where), tuple(dims))
        if max(spec.nbytes, spec.size) > self.limits.max_tensor_bytes:
            raise ModelError(
                f"{where}: shape {dims} of {spec.dtype} is beyond {self.limits.max_tensor_bytes} bytes"
            )
        return spec

    def _tensor(self, fields: dict[str, Any], where: str) -> Any:
        spec = self.spec(fields["data_type"], fields["dims"], where)
        if fields["segment"] is not None:
            raise UnsupportedError(f"{where}: data in segments; save the model with whole tensors")
        if spec.dtype.kind == "s":
            return _strings(fields, spec, where)
        if fields["data_location"] == 1:
            if self.external is None:
                raise ModelError(
                    f"{where}: data lies outside the file, but the folder is not known; give `folder`"
                )
            raw = self.external.view(fields["external_data"], _packed_bytes(spec), where)
        elif fields["raw_data"] is not None:
            raw = fields["raw_data"]
        else:
            return self._typed(fields, spec, where)
        if len(raw) != _packed_bytes(spec):
            raise ModelError(f"{where}: {spec} takes {_packed_bytes(spec)} bytes, but {len(raw)} are there")
        return _wrap(_unpack(raw, spec), spec)

    def _typed(self, fields: dict[str, Any], spec: TensorSpec, where: str) -> Any:
        """From one of the fields with numbers."""
        kind = spec.dtype
        field = _FIELDS.get(kind.name, "int32_data")
        chunks = fields[field]
        if field in ("float_data", "double_data"):
            data = concat(chunks) if chunks else memoryview(b"")
            if len(data) != spec.nbytes:
                raise ModelError(f"{where}: {spec} takes {spec.nbytes} bytes, but {field} has {len(data)}")
            return _wrap(data, spec)
        packed = kind.bits < 8
        expected = _packed_bytes(spec) if packed else spec.size
        there = sum(len(c) if isinstance(c, array) else count_varints(c) for c in chunks)
        if there != expected:
            raise ModelError(f"{where}: {spec} takes {expected} numbers, but {field} has {there}")
        made = bytearray()
        for chunk in chunks:
            values = chunk if isinstance(chunk, array) else varints(chunk, expected)
            made += _narrow(values, kind, where)
        return _wrap(_unpack(memoryview(made), spec), spec)

    def read_sparse(self, view: memoryview, where: str) -> tuple[str, Any]:
        """(name, dense Tensor) of a SparseTensorProto; the name is that of its values."""
        try:
            fields = decode(view, s.SPARSE_TENSOR)
            kind = decode(fields["values"] or memoryview(b""), s.TENSOR)["data_type"]
        except MalformedError as error:
            raise ModelError(f"{where}: sparse tensor is damaged: {error}") from None
        name, values = self.read(fields["values"] or memoryview(b""), where)
        where = f"{where}: sparse tensor {name!r}"
        spec = self.spec(kind, fields["dims"], where)
        if spec.dtype.kind == "s" or len(values.shape) != 1:
            raise ModelError(f"{where}: values must be a list of numbers")
        if spec.nbytes > self.limits.max_expanded_bytes:
            raise ModelError(
                f"{where}: {spec} is beyond {self.limits.max_expanded_bytes} bytes when made dense"
            )
        _, indices = self.read(fields["indices"], where) if fields["indices"] is not None else ("", None)
        return name, _dense(spec, values, indices, where)


def element_type(data_type: int, where: str) -> DType:
    """The dtype of a TensorProto.DataType. Raises UnsupportedError if Walle has none."""
    if data_type not in s.DATA_TYPES:
        known = ", ".join(f"{n} {t}" for n, t in s.DATA_TYPES.items())
        raise UnsupportedError(f"{where}: data type {data_type} is not known; known: {known}")
    return as_dtype(s.DATA_TYPES[data_type])


def _packed_bytes(spec: TensorSpec) -> int:
    """Bytes in the file: types below one byte lie several to the byte there."""
    return -(-spec.size * spec.dtype.bits // 8) if spec.dtype.bits < 8 else spec.nbytes


def _wrap(data: Any, spec: TensorSpec) -> Any:
    """A Tensor over `data`, or over a copy where the address is not a multiple of the item size."""
    part = 1 if spec.dtype.kind == "c" else 0
    if sys.byteorder == "big" and spec.dtype.itemsize > 1:
        swapped = array({2: "H", 4: "I", 8: "Q"}[spec.dtype.itemsize >> part], bytes(data))
        swapped.byteswap()
        data = swapped
    tensor = Tensor.wrap(data, spec.dtype.name, spec.sizes)
    return tensor.copy() if tensor.address % (spec.dtype.itemsize >> part) else tensor


def _tables(bits: int, signed: bool) -> list[bytes]:
    """Per position in a byte, the table from a packed byte to the number there, sign-extended."""
    mask, top = (1 << bits) - 1, 1 << (bits - 1)
    rows = []
    for shift in range(0, 8, bits):
        values = ((byte >> shift) & mask for byte in range(256))
        rows.append(bytes((v | (0xFF & ~mask)) if signed and v & top else v for v in values))
    return rows


def _unpack(raw: memoryview, spec: TensorSpec) -> Any:
    """One number per byte for types below one byte (the first number is in the low bits); else `raw` itself."""
    bits = spec.dtype.bits
    if bits >= 8:
        return raw
    data = bytes(raw)
    per_byte = 8 // bits
    out = bytearray(len(data) * per_byte)
    for position, table in enumerate(_tables(bits, spec.dtype.kind == "i")):
        out[position::per_byte] = data.translate(table)
    return memoryview(out)[: spec.size]


def _narrow(values: Any, kind: DType, where: str) -> bytes:
    """Numbers of int32_data, int64_data or uint64_data as the bytes of `kind`."""
    try:
        if kind.kind == "b":
            return bytes(v != 0 for v in values)
        if kind.kind == "f" or kind.bits < 8:  # a bit pattern, not a number
            mask = (1 << 8 * kind.itemsize) - 1
            low = -(mask + 1) // 2  # a signed int32 may carry the sign of a narrower pattern
            code = "H" if kind.itemsize == 2 else "B"
            return array(code, [v & mask if low <= v < 0 else v for v in values]).tobytes()
        if kind.name == "uint64":
            return array("Q", [v & (1 << 64) - 1 for v in values]).tobytes()
        return array(_CODES[kind.itemsize, kind.kind], values).tobytes()
    except OverflowError as error:
        raise ModelError(f"{where}: a value does not fit {kind} ({error})") from None


def _strings(fields: dict[str, Any], spec: TensorSpec, where: str) -> StringTensor:
    items = fields["string_data"]
    if len(items) != prod(spec.sizes):
        raise ModelError(f"{where}: {spec} takes {prod(spec.sizes)} strings, but {len(items)} are there")
    try:
        return StringTensor([str(item, "utf-8") for item in items], spec.sizes)
    except UnicodeDecodeError as error:
        raise ModelError(f"{where}: a string is not UTF-8 ({error.reason})") from None


def _dense(spec: TensorSpec, values: Any, indices: Any, where: str) -> Any:
    """The dense tensor with `values` at `indices`: linear ones [n] or coordinates [n, rank]; all else is zero."""
    count, rank, item = values.shape[0], len(spec.sizes), spec.dtype.itemsize
    if indices is None or indices.dtype != "int64" or tuple(indices.shape) not in ((count,), (count, rank)):
        raise ModelError(f"{where}: indices must be int64 of shape [{count}] or [{count}, {rank}]")
    numbers = struct.unpack(f"{indices.size}q", indices.tobytes())
    data, source = bytearray(spec.nbytes), values.tobytes()
    for position in range(count):
        if len(indices.shape) == 1:
            address = numbers[position]
        else:
            address = 0
            for size, index in zip(
                spec.sizes, numbers[position * rank : position * rank + rank], strict=True
            ):
                if not 0 <= index < size:
                    raise ModelError(f"{where}: index {index} is outside a dimension of {size}")
                address = address * size + index
        if not 0 <= address < spec.size:
            raise ModelError(f"{where}: index {address} is outside {spec.size} elements")
        data[address * item : (address + 1) * item] = source[position * item : (position + 1) * item]
    return Tensor.wrap(data, spec.dtype.name, spec.sizes)
