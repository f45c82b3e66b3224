"""ValueInfoProto and TypeProto -> TensorSpec; the value of a Constant node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import ModelError
from walle_core.frontends.onnx import schema as s
from walle_core.frontends.onnx.tensor import TensorReader, element_type
from walle_core.frontends.onnx.wire import MalformedError, decode
from walle_core.strings import StringTensor
from walle_core.types import Dim, TensorSpec


def read_value_info(view: memoryview, tensors: TensorReader, where: str) -> tuple[str, TensorSpec | None]:
    """(name, spec) of a ValueInfoProto; None if it states no type.

    A sequence, optional or map has the spec of its innermost tensor with an unknown shape.
    """
    fields = decode(view, s.VALUE_INFO)
    name = fields["name"]
    if fields["type"] is None:
        return name, None
    return name, _spec(fields["type"], f"{where}: value {name!r}", tensors)


def _spec(view: memoryview, where: str, tensors: TensorReader) -> TensorSpec | None:
    nested = False
    for _ in range(tensors.limits.max_depth):
        fields = decode(view, s.TYPE)
        tensor = fields["tensor_type"] if fields["tensor_type"] is not None else fields["sparse_tensor_type"]
        if tensor is not None:
            parts = decode(tensor, s.TENSOR_TYPE)
            if not parts["elem_type"]:
                return None
            dtype = element_type(parts["elem_type"], where)
            if nested or parts["shape"] is None:
                return TensorSpec(dtype, None)
            return _shaped(parts, where, tensors)
        if fields["map_type"] is not None:
            inner = decode(fields["map_type"], s.MAP_TYPE)["value_type"]
        else:
            wrapped = (
                fields["sequence_type"] if fields["sequence_type"] is not None else fields["optional_type"]
            )
            inner = decode(wrapped, s.WRAPPED_TYPE)["elem_type"] if wrapped is not None else None
        if inner is None:
            return None
        view, nested = inner, True
    raise ModelError(f"{where}: types are nested deeper than {tensors.limits.max_depth}")


def _shaped(parts: dict[str, Any], where: str, tensors: TensorReader) -> TensorSpec:
    dims: list[Dim] = []
    for axis, view in enumerate(decode(parts["shape"], s.SHAPE)["dim"]):
        dim = decode(view, s.DIMENSION)
        if "dim_value" in dim["set"]:
            if not 0 <= dim["dim_value"] <= tensors.limits.max_dim:
                raise ModelError(f"{where}: size {dim['dim_value']} of dimension {axis} is not possible")
            dims.append(dim["dim_value"])
        else:
            dims.append(dim["dim_param"] or f"{where.rpartition(': value ')[2][1:-1]}:{axis}")
    sizes = [d for d in dims if isinstance(d, int)]
    known = tensors.spec(parts["elem_type"], sizes, where)  # checks rank and bytes
    return TensorSpec(known.dtype, tuple(dims))


def type_text(view: memoryview, depth: int) -> str:
    """A TypeProto in ONNX's words, for example ``seq(tensor(float32))``. Raises MalformedError."""
    text = ""
    for closing in range(depth):
        fields = decode(view, s.TYPE)
        if fields["tensor_type"] is not None:
            number = decode(fields["tensor_type"], s.TENSOR_TYPE)["elem_type"]
            return f"{text}tensor({s.DATA_TYPES.get(number, number)})" + ")" * closing
        kind = "sequence_type" if fields["sequence_type"] is not None else "optional_type"
        if fields[kind] is None:
            return f"{text}unknown" + ")" * closing
        text += "seq(" if kind == "sequence_type" else "optional("
        inner = decode(fields[kind], s.WRAPPED_TYPE)["elem_type"]
        if inner is None:
            return text + ")" * (closing + 1)
        view = inner
    raise MalformedError(f"types are nested deeper than {depth}")


def constant_value(attributes: Mapping[str, Any], where: str) -> Any:
    """The Tensor or StringTensor that a Constant node stands for. Raises ModelError."""
    given = [k for k in attributes if k.startswith("value") or k == "sparse_value"]
    if len(given) != 1:
        raise ModelError(f"{where}: a constant needs exactly one value, not {len(given)}")
    key, value = given[0], attributes[given[0]]
    if key in ("value", "sparse_value"):
        if not isinstance(value, (Tensor, StringTensor)):
            raise ModelError(f"{where}: attribute {key!r} must be a tensor")
        return value
    try:
        if key in ("value_float", "value_floats"):
            return Tensor.of(list(value) if key.endswith("s") else value, "float32")
        if key in ("value_int", "value_ints"):
            return Tensor.of(list(value) if key.endswith("s") else value, "int64")
        if key == "value_string":
            return StringTensor([str(value)], ())
        if key == "value_strings":
            return StringTensor([str(v) for v in value], (len(value),))
    except TypeError as error:
        raise ModelError(f"{where}: attribute {key!r} has another type ({error})") from None
    raise ModelError(f"{where}: attribute {key!r} is not known")
