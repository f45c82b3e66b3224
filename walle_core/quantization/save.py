"""Writes a graph as ONNX, where the onnx package is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from walle_core.errors import InputError, UnsupportedError
from walle_core.graph.ir import Graph
from walle_core.ops.element_types import number_of
from walle_core.ops.numpy_lazy import np
from walle_core.types import TensorSpec

OPSET = 21  # ai.onnx: the first whose QuantizeLinear and DequantizeLinear are as they are here; read by current engines
IR_VERSION = 10


class OnnxSaver:
    """Writes ``.onnx`` files, where the onnx package is."""

    name = "onnx"
    suffixes: Sequence[str] = (".onnx",)

    def save(self, graph: Graph, path: str | os.PathLike[str]) -> None:
        """Writes a graph. Raises InputError without the onnx package, UnsupportedError for an operator that ONNX lacks."""
        _write(graph, Path(path))


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
