"""The ONNX frontend: `load` and `load_bytes` turn a model file into a Graph in the newest operator set's meaning.

The reader is our own and needs neither the onnx package nor NumPy; weights stay views of the memory-mapped file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from walle_core.errors import ModelError, UnsupportedError, WalleError
from walle_core.frontends.onnx import schema as s
from walle_core.frontends.onnx.convert import Converter, Function, read_opsets
from walle_core.frontends.onnx.external import ExternalData, map_file
from walle_core.frontends.onnx.limits import DEFAULT_LIMITS, Limits
from walle_core.frontends.onnx.scope import Frame
from walle_core.frontends.onnx.tensor import TensorReader
from walle_core.frontends.onnx.upgrade import NEWEST
from walle_core.frontends.onnx.wire import MalformedError, decode
from walle_core.graph.control import check_control
from walle_core.graph.ir import Graph, Node
from walle_core.ops import find

__all__ = ["DEFAULT_LIMITS", "NEWEST", "Limits", "OnnxFrontend", "OnnxSaver", "load", "load_bytes"]


def load(
    path: str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS, check_operators: bool = True
) -> Graph:
    """The Graph of an ONNX file.

    Args:
        path: the model; external data must lie in its folder or below.
        limits: ceilings on what the file may ask for.
        check_operators: False lets operators pass that the catalogue does not have.

    Raises:
        ModelError: the file is damaged, inconsistent or beyond a limit; the message names file, node and value.
        UnsupportedError: an operator, operator set or data type that Walle does not have.
    """
    source = os.fspath(path)
    data = map_file(source, f"model {source!r}")
    return _load(data, source, ExternalData(Path(source).parent), limits, check_operators)


def load_bytes(
    data: bytes | bytearray | memoryview,
    folder: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    check_operators: bool = True,
) -> Graph:
    """The Graph of an ONNX model in memory, which must stay unchanged; `folder` is where its external data lies."""
    external = None if folder is None else ExternalData(folder)
    return _load(memoryview(data).cast("B"), "", external, limits, check_operators)


def _load(data: memoryview, source: str, external: ExternalData | None, limits: Limits, check: bool) -> Graph:
    where = source or "model"
    try:
        return _model(data, source, where, external, limits, check)
    except WalleError:
        raise
    except MalformedError as error:
        raise ModelError(f"{where}: not a readable ONNX model: {error}; is the file complete?") from None
    except MemoryError as error:
        raise ModelError(f"{where}: the model does not fit into memory") from error
    except Exception as error:  # a damaged file must never end in anything else
        raise ModelError(
            f"{where}: damaged in an unexpected way ({type(error).__name__}: {error})"
        ) from error


def _model(
    data: memoryview, source: str, where: str, external: ExternalData | None, limits: Limits, check: bool
) -> Graph:
    fields = decode(data, s.MODEL)
    if fields["graph"] is None:
        raise ModelError(f"{where}: holds no graph; is it an ONNX model?")
    opsets = read_opsets(fields["opset_import"], fields["ir_version"], where)
    functions = {}
    for view in fields["functions"]:
        key, function = _function(view, opsets, where)
        if key in functions:
            raise ModelError(f"{where}: function {function.name!r} is defined twice")
        functions[key] = function
    converter = Converter(
        source, limits, TensorReader(limits, external), functions, _admit(where) if check else _any
    )
    graph = converter.graph(fields["graph"], Frame(opsets, where))
    metadata = {"producer": f"{fields['producer_name']} {fields['producer_version']}".strip()}
    for pair in fields["metadata_props"]:
        entry = decode(pair, s.STRING_PAIR)
        metadata[entry["key"]] = entry["value"]
    return graph.evolve(metadata=metadata)


def _function(view: memoryview, opsets: dict[str, int], where: str) -> tuple[tuple[str, str, str], Function]:
    fields = decode(view, s.FUNCTION)
    name, domain = fields["name"], fields["domain"]
    domain = "" if domain == "ai.onnx" else domain
    own = (
        read_opsets(fields["opset_import"], 3, f"{where}: function {name!r}")
        if fields["opset_import"]
        else opsets
    )
    function = Function(
        name, tuple(fields["input"]), tuple(fields["output"]), tuple(fields["attribute"]),
        tuple(fields["attribute_proto"]), tuple(fields["node"]), own,
    )  # fmt: skip
    return (domain, name, fields["overload"]), function


def _any(node: Node) -> None:
    """Every operator may pass."""


def _admit(where: str) -> Callable[[Node], None]:
    """The check of each node against the catalogue."""

    def admit(node: Node) -> None:
        op = find(node.op)
        if op is None:
            raise UnsupportedError(
                f"{where}: node {node} uses an operator that Walle does not have; install a plugin that defines"
                f" {node.op!r} (walle_register_operators) or export the model with other operators"
            )
        if sum(1 for n in node.inputs[: op.required] if n) < op.required:
            raise ModelError(
                f"{where}: node {node} needs {op.required} inputs ({', '.join(op.input_names)}), has {list(node.inputs)}"
            )
        variadic = any(n.startswith("*") for n in op.input_names)
        if op.input_names and not variadic and len(node.inputs) > len(op.input_names):
            raise ModelError(
                f"{where}: node {node} takes {len(op.input_names)} inputs ({', '.join(op.input_names)}),"
                f" has {len(node.inputs)}"
            )
        if not any(node.outputs):
            raise ModelError(f"{where}: node {node} has no output")
        try:
            op.bind(node.attrs)
            check_control(node)
        except ModelError as error:
            text = str(error)
            raise ModelError(
                f"{where}: {text if repr(node.name) in text else f'node {node}: {text}'}"
            ) from None

    return admit


class OnnxFrontend:
    """Loads ``.onnx`` files."""

    name = "onnx"
    suffixes: Sequence[str] = (".onnx",)

    def sniff(self, head: bytes) -> bool:
        """True if the bytes begin like a ModelProto: its IR version, then a string or the operator sets."""
        return (
            len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 0x80 and head[2] in (0x12, 0x1A, 0x3A, 0x42)
        )

    def load(self, path: str | os.PathLike[str]) -> Graph:
        """The Graph of a file; see `load`."""
        return load(path)

    def load_bytes(self, data: bytes | bytearray | memoryview) -> Graph:
        """The Graph of bytes; see `load_bytes`."""
        return load_bytes(data)


class OnnxSaver:
    """Writes ``.onnx`` files."""

    name = "onnx"
    suffixes: Sequence[str] = (".onnx",)

    def save(self, graph: Graph, path: str | os.PathLike[str]) -> None:
        """Writes a graph; see `writer.save`."""
        from walle_core.frontends.onnx import writer  # loading a model does not need it

        writer.save(graph, path)
