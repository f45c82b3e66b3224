"""Writes a network: Walle's own file, or ONNX where the onnx package is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from walle_core.errors import InputError, UnsupportedError
from walle_core.frontends import walle_file
from walle_core.graph.ir import Graph
from walle_core.ops.element_types import number_of
from walle_core.ops.numpy_lazy import np
from walle_core.types import TensorSpec

OPSET = 21  # ai.onnx: the first whose QuantizeLinear and DequantizeLinear are as they are here; read by current engines
IR_VERSION = 10


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes a graph; the suffix says how: ``.onnx`` or ``.walle``.

    Raises:
        InputError: another suffix, or the onnx package is missing.
        UnsupportedError: an operator that ONNX does not have.
        ModelError: the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".walle":
        walle_file.save(graph, path)
    elif suffix == ".onnx":
        _write(graph, Path(path))
    else:
        raise InputError(f"{os.fspath(path)}: the name of a model file ends with .onnx or .walle")


def _write(graph: Graph, path: Path) -> None:
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            f"writing ONNX needs the onnx package ({error}): pip install walle-core[onnx]"
        ) from error
    make = onnx.helper
    nodes = []
    for node in graph.nodes:
        if not onnx.defs.has(node.op):
            raise UnsupportedError(f"node {node}: ONNX has no such operator; write a .walle file instead")
        attributes: dict[str, Any] = {
            k: list(v) if isinstance(v, tuple) else v for k, v in node.attrs.items()
        }
        nodes.append(make.make_node(node.op, list(node.inputs), list(node.outputs), node.name, **attributes))
    body = make.make_graph(
        nodes, graph.name,
        [_info(make, n, graph.specs.get(n)) for n in graph.inputs if n not in graph.constants],
        [_info(make, n, graph.specs.get(n)) for n in graph.outputs],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in graph.constants.items()],
    )  # fmt: skip
    model = make.make_model(body, opset_imports=[make.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    try:
        onnx.save(model, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error})") from error


def _info(make: Any, name: str, spec: TensorSpec | None) -> Any:
    if spec is None:
        return make.make_empty_tensor_value_info(name)
    return make.make_tensor_value_info(name, number_of(spec.dtype), spec.shape)
