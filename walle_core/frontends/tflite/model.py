"""The parts of a TFLite file: tensors with their quantisation, operators by name. Everything is checked before it is used."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import isfinite, prod
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.errors import ModelError, UnsupportedError
from walle_core.frontends.onnx.limits import Limits
from walle_core.frontends.tflite import schema as s
from walle_core.frontends.tflite.flatbuffer import Bytes, Table
from walle_core.types import DTYPES, TensorSpec

NO_BUFFER = 0  # the buffer that stands for "no data"
_INTEGERS = {"int32": "i", "int64": "q", "int16": "h", "int8": "b", "uint8": "B", "bool": "?", "uint32": "I"}
_UNREADABLE = {"complex64", "complex128", "resource", "variant", "string"}


@attrs.frozen
class Quantisation:
    """real = (stored - zero) * scale; one pair, or one per index of `axis`."""

    scale: tuple[float, ...]
    zero: tuple[int, ...]
    axis: int


@attrs.frozen(eq=False)
class TensorInfo:
    """A tensor of a subgraph.

    Attributes:
        name: unique in the subgraph.
        spec: dtype and shape; a size that the file leaves open is symbolic.
        data: its bytes, None for a value that an operator makes or a run gives.
        quantisation: None for plain numbers.
    """

    name: str
    spec: TensorSpec
    data: memoryview | None
    quantisation: Quantisation | None

    def constant(self) -> Tensor:
        """The data as a Tensor: a view of the file where it is aligned."""
        assert self.data is not None
        tensor = Tensor.wrap(self.data, self.spec.dtype.name, self.spec.sizes)
        return tensor.copy() if tensor.address % min(self.spec.dtype.itemsize, 8) else tensor

    def integers(self) -> tuple[int, ...] | None:
        """The numbers of a constant integer tensor; None if it is none."""
        code = _INTEGERS.get(self.spec.dtype.name)
        if self.data is None or code is None:
            return None
        return struct.unpack(f"<{self.spec.size}{code}", self.data)


@attrs.frozen(eq=False)
class Operator:
    """One operator: its name in the schema ("CUSTOM:name" for a custom one), position, tensors and options."""

    name: str
    position: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None


@attrs.frozen(eq=False)
class Model:
    """The main subgraph of a file."""

    name: str
    description: str
    tensors: Sequence[TensorInfo]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: Sequence[Operator]


def read(data: memoryview, where: str, limits: Limits) -> Model:
    """The model in a file's bytes. Raises ModelError, UnsupportedError, DamagedError."""
    if bytes(data[4:8]) != s.IDENTIFIER:
        raise ModelError(f"{where}: no TFLite model: {s.IDENTIFIER.decode()} is missing at byte 4")
    root = Bytes(data, limits.max_nodes * 4).root()
    version = root.get(s.MODEL["version"], "I")
    if version != s.VERSION:
        raise UnsupportedError(f"{where}: TFLite schema version {version}, {s.VERSION} can be read")
    graphs = root.tables(s.MODEL["subgraphs"])
    if not graphs:
        raise ModelError(f"{where}: holds no subgraph")
    buffers = [_buffer(b, data, where) for b in root.tables(s.MODEL["buffers"])]
    codes = [_code(c) for c in root.tables(s.MODEL["operator_codes"])]
    graph, names = graphs[0], set[str]()
    tensors = [
        _tensor(t, i, buffers, names, where, limits)
        for i, t in enumerate(graph.tables(s.SUBGRAPH["tensors"]))
    ]
    inputs = graph.numbers(s.SUBGRAPH["inputs"], "i")
    outputs = graph.numbers(s.SUBGRAPH["outputs"], "i")
    operators = [_operator(o, i, codes, where) for i, o in enumerate(graph.tables(s.SUBGRAPH["operators"]))]
    if len(operators) > limits.max_nodes:
        raise ModelError(f"{where}: more than {limits.max_nodes} operators")
    for what, used in (("input", inputs), ("output", outputs)):
        if any(not 0 <= i < len(tensors) for i in used):
            raise ModelError(f"{where}: an {what} of the graph is tensor {max(used)} of {len(tensors)}")
    for op in operators:
        if any(not -1 <= i < len(tensors) for i in op.inputs) or any(
            not 0 <= i < len(tensors) for i in op.outputs
        ):
            raise ModelError(
                f"{where}: operator {op.position} ({op.name}) refers to a tensor outside the {len(tensors)} of its graph"
            )
    return Model(
        graph.text(s.SUBGRAPH["name"]) or "main", root.text(s.MODEL["description"]), tensors, inputs, outputs, operators
    )  # fmt: skip


def _buffer(table: Table, data: memoryview, where: str) -> memoryview | None:
    """A buffer's bytes: in the table, or, in files beyond 2 GB, behind it at an offset from the file's start."""
    view = table.view(s.BUFFER["data"], "B")
    if view is not None and len(view):
        return view
    offset, size = table.get(s.BUFFER["offset"], "Q"), table.get(s.BUFFER["size"], "Q")
    if offset <= 1:
        return None
    if offset + size > len(data):
        raise ModelError(
            f"{where}: a buffer lies at bytes {offset} to {offset + size}, the file has {len(data)}"
        )
    return data[offset : offset + size]


def _code(table: Table) -> str:
    number = max(
        table.get(s.OPERATOR_CODE["deprecated_builtin_code"], "b"),
        table.get(s.OPERATOR_CODE["builtin_code"], "i"),
    )
    if not 0 <= number < len(s.OPERATORS):
        return f"operator number {number}"
    name = s.OPERATORS[number]
    return f"CUSTOM:{table.text(s.OPERATOR_CODE['custom_code'])}" if name == "CUSTOM" else name


def _operator(table: Table, position: int, codes: Sequence[str], where: str) -> Operator:
    index = table.get(s.OPERATOR["opcode_index"], "I")
    if index >= len(codes):
        raise ModelError(f"{where}: operator {position} has code {index} of {len(codes)}")
    return Operator(
        codes[index], position, table.numbers(s.OPERATOR["inputs"], "i"), table.numbers(s.OPERATOR["outputs"], "i"),
        table.table(s.OPERATOR["builtin_options"]),
    )  # fmt: skip


def _tensor(
    table: Table,
    index: int,
    buffers: Sequence[memoryview | None],
    names: set[str],
    where: str,
    limits: Limits,
) -> TensorInfo:
    label = table.text(s.TENSOR["name"]) or f"tensor_{index}"
    place = f"{where}: tensor {index} {label[:80]!r}"
    if len(label) > limits.max_name:
        raise ModelError(f"{place}: a name has {len(label)} characters, at most {limits.max_name} are taken")
    name = label
    while name in names:
        name = f"{name}.{index}"
    names.add(name)
    number = table.get(s.TENSOR["type"], "b")
    kind = s.TYPES[number] if 0 <= number < len(s.TYPES) else f"type number {number}"
    if kind not in DTYPES or kind in _UNREADABLE:
        raise UnsupportedError(f"{place}: data type {kind} cannot be read; convert the model without it")
    if table.table(s.TENSOR["sparsity"]) is not None:
        raise UnsupportedError(f"{place}: sparse storage cannot be read; convert the model without it")
    shape = table.numbers(s.TENSOR["shape"], "i")
    if len(shape) > limits.max_rank or any(d < 0 for d in shape):
        raise ModelError(f"{place}: shape {list(shape)} is not possible")
    number = table.get(s.TENSOR["buffer"], "I")
    if number >= len(buffers):
        raise ModelError(f"{place}: its buffer is {number} of {len(buffers)}")
    data = None if number == NO_BUFFER else buffers[number]
    spec = TensorSpec(DTYPES[kind], shape)
    if data is not None:
        if kind == "int4":
            data = _nibbles(data, prod(shape), place)
        if len(data) != spec.nbytes:
            raise ModelError(f"{place}: {spec} takes {spec.nbytes} bytes, its buffer has {len(data)}")
    signature = table.numbers(s.TENSOR["shape_signature"], "i")
    if data is None and len(signature) == len(shape):
        open_sizes = tuple(
            d if given >= 0 else "batch" if axis == 0 else f"{name}.{axis}"
            for axis, (d, given) in enumerate(zip(shape, signature, strict=True))
        )
        spec = TensorSpec(spec.dtype, open_sizes)
    return TensorInfo(name, spec, data, _quantisation(table.table(s.TENSOR["quantization"]), shape, place))


def _nibbles(data: memoryview, count: int, place: str) -> memoryview:
    """int4 numbers, two in a byte, the first in the low half, as one byte each."""
    if len(data) != (count + 1) // 2:
        raise ModelError(
            f"{place}: {count} numbers of 4 bits take {(count + 1) // 2} bytes, its buffer has {len(data)}"
        )
    table = [bytes(((b >> shift & 15) ^ 8) - 8 & 255 for b in range(256)) for shift in (0, 4)]
    packed = bytes(data)
    out = bytearray(2 * len(packed))
    for position in (0, 1):
        out[position::2] = packed.translate(table[position])
    return memoryview(out)[:count]


def _quantisation(table: Table | None, shape: Sequence[int], place: str) -> Quantisation | None:
    if table is None:
        return None
    scale = table.numbers(s.QUANTIZATION["scale"], "f")
    if not scale:
        return None
    if table.get(s.QUANTIZATION["details_type"], "B") not in (0, 1):
        raise UnsupportedError(
            f"{place}: blockwise quantisation cannot be read; convert with one scale per channel"
        )
    zero = table.numbers(s.QUANTIZATION["zero_point"], "q") or (0,) * len(scale)
    axis: Any = table.get(s.QUANTIZATION["quantized_dimension"], "i")
    if len(zero) == 1 < len(scale):
        zero *= len(scale)
    if len(zero) != len(scale) or not all(isfinite(v) and v > 0 for v in scale):
        raise ModelError(
            f"{place}: {len(scale)} scales and {len(zero)} zero points, or a scale that is not positive"
        )
    if len(scale) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scale)):
        raise ModelError(f"{place}: {len(scale)} scales do not fit dimension {axis} of shape {list(shape)}")
    return Quantisation(scale, zero, axis if len(scale) > 1 else 0)
