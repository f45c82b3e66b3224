"""Graph <-> JSON values; tensors are left to the caller, by key."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import ModelError
from walle_core.graph.ir import Graph, Node, captured, sorted_nodes
from walle_core.strings import StringTensor
from walle_core.types import DTYPES, TensorSpec

MAX_DEPTH = 32  # nesting of subgraphs


def encode_graph(graph: Graph, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """A graph as JSON values; its tensors are added to `tensors` under new keys. Raises ModelError."""
    return {
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "metadata": dict(graph.metadata),
        "specs": {k: [str(v.dtype), None if v.shape is None else list(v.shape)] for k, v in graph.specs.items()},
        "constants": {k: _encode(v, tensors, f"constant {k!r}") for k, v in graph.constants.items()},
        "nodes": [
            {
                "op": n.op, "name": n.name, "inputs": list(n.inputs), "outputs": list(n.outputs),
                "attrs": {k: _encode(v, tensors, f"node {n}: attribute {k!r}") for k, v in n.attrs.items()},
            }
            for n in graph.nodes
        ],
    }  # fmt: skip


def _encode(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """Attribute values: numbers and text as they are, everything else as {tag: content}."""
    if isinstance(value, (bool, int, str)):
        return int(value) if isinstance(value, bool) else value
    if isinstance(value, float):
        return {"float": value if math.isfinite(value) else repr(value)}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, (tuple, list)):
        return [_encode(v, tensors, where) for v in value]
    if isinstance(value, Graph):
        return {"graph": encode_graph(value, tensors)}
    if isinstance(value, Tensor):
        key = f"t{len(tensors)}"
        tensors[key] = value
        return {"tensor": key, "dtype": value.dtype, "shape": list(value.shape)}
    if isinstance(value, StringTensor) or str(getattr(value, "dtype", "")) == "object":
        flat = value.reshape(-1).tolist()
        if all(isinstance(item, str) for item in flat):
            return {"strings": flat, "shape": list(value.shape)}
    raise ModelError(f"{where}: a {type(value).__name__} has no form in a model file")


def decode_graph(
    data: Mapping[str, Any], tensors: Mapping[str, tuple[str, list[int], memoryview]], source: str, where: str
) -> Graph:
    """The graph that `encode_graph` wrote.

    Raises ModelError, or ValueError, TypeError, KeyError, IndexError, AttributeError for values that are not its work.
    """
    return _graph(data, tensors, source, where, 0)


def _graph(data: Mapping[str, Any], tensors: Mapping[str, Any], source: str, where: str, depth: int) -> Graph:
    if depth > MAX_DEPTH:
        raise ModelError(f"{where}: graphs are nested deeper than {MAX_DEPTH}")

    def decode(value: Any) -> Any:
        if isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, list):
            return tuple(decode(v) for v in value)
        if "float" in value:
            return float(value["float"])
        if "bytes" in value:
            return base64.b64decode(value["bytes"], validate=True)
        if "graph" in value:
            return _graph(value["graph"], tensors, source, where, depth + 1)
        if "strings" in value:
            return StringTensor([_text(v) for v in value["strings"]], [int(v) for v in value["shape"]])
        return _tensor(value, tensors, where)

    nodes = [
        Node(
            _text(n["op"]), tuple(map(_text, n["inputs"])), tuple(map(_text, n["outputs"])),
            {_text(k): decode(v) for k, v in n["attrs"].items()}, _text(n["name"]),
        )
        for n in data["nodes"]
    ]  # fmt: skip
    constants = {k: decode(v) for k, v in data["constants"].items()}
    if wrong := [k for k, v in constants.items() if not isinstance(v, (Tensor, StringTensor))]:
        raise ModelError(f"{where}: constant {wrong[0]!r} is no tensor")
    inputs, outputs = tuple(map(_text, data["inputs"])), tuple(map(_text, data["outputs"]))
    known = {*inputs, *constants}
    if len(known) != len(inputs) + len(constants):
        raise ModelError(f"{where}: a graph input is defined twice")
    made = {o for n in nodes for o in n.outputs}
    if depth:  # what is not made here comes from the graph around, which checks it in its turn
        known |= {i for n in nodes for i in (*n.inputs, *captured(n)) if i not in made}
    elif absent := [o for o in outputs if o not in made and o not in known]:
        raise ModelError(f"{where}: output {absent[0]!r} is made by no node")
    specs = {k: _spec(v) for k, v in data["specs"].items()}
    if not depth and (untyped := [i for i in inputs if i not in specs]):
        raise ModelError(f"{where}: graph input {untyped[0]!r} has no type")
    for name, value in constants.items():
        specs[name] = TensorSpec(DTYPES[str(value.dtype)], tuple(value.shape))
    metadata = {_text(k): _text(v) for k, v in data["metadata"].items()}
    ordered = sorted_nodes(nodes, known, where)
    return Graph(inputs, outputs, ordered, constants, specs, _text(data["name"]), source, metadata)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is {value!r}")
    return value


def _spec(value: Any) -> TensorSpec:
    kind, shape = value
    if shape is None:
        return TensorSpec(DTYPES[kind], None)
    if any(not (isinstance(d, str) or (type(d) is int and d >= 0)) for d in shape):
        raise ValueError(f"shape {shape} is not possible")
    return TensorSpec(DTYPES[kind], tuple(shape))


def _tensor(value: Mapping[str, Any], tensors: Mapping[str, Any], where: str) -> Any:
    _, _, data = tensors[value["tensor"]]
    shape = value["shape"]
    if any(type(d) is not int or d < 0 for d in shape):
        raise ModelError(f"{where}: tensor shape {shape} is not possible")
    spec = TensorSpec(DTYPES[value["dtype"]], tuple(shape))
    if spec.dtype.kind == "s" or spec.nbytes != len(data):
        raise ModelError(f"{where}: tensor {value['tensor']!r}: {spec} does not fit {len(data)} bytes")
    tensor = Tensor.wrap(data, spec.dtype.name, spec.sizes)
    return tensor.copy() if tensor.address % ALIGNMENT_OF.get(spec.dtype.itemsize, 8) else tensor


ALIGNMENT_OF = {1: 1, 2: 2, 4: 4}  # item size -> alignment that loads need; 8 for the rest
