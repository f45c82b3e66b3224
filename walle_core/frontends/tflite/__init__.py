"""The TFLite frontend: `load` and `load_bytes` turn a .tflite file, float or quantised, into a Graph.

The reader is our own and needs neither flatbuffers nor NumPy; weights stay views of the memory-mapped file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from walle_core.errors import ModelError, UnsupportedError, WalleError
from walle_core.frontends.onnx.external import map_file
from walle_core.frontends.onnx.limits import DEFAULT_LIMITS, Limits
from walle_core.frontends.tflite import schema as s
from walle_core.frontends.tflite.call import RULES, lower
from walle_core.frontends.tflite.flatbuffer import DamagedError
from walle_core.frontends.tflite.lowering import Lowering, Refused
from walle_core.frontends.tflite.model import Model, read
from walle_core.graph.ir import Graph, sorted_nodes

__all__ = ["TfliteFrontend", "load", "load_bytes", "operators"]


def operators() -> list[str]:
    """Names of the schema's operators that can be loaded."""
    _rules()
    return [name for name in s.OPERATORS if name in RULES]


def load(path: str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS) -> Graph:
    """The Graph of a TFLite file.

    Raises:
        ModelError: the file is damaged, inconsistent or beyond a limit; the message names file, operator and value.
        UnsupportedError: operators or types that Walle does not have; all operators are named, with their positions.
    """
    source = os.fspath(path)
    return _load(map_file(source, f"model {source!r}"), source, limits)


def load_bytes(data: bytes | bytearray | memoryview, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """The Graph of a TFLite model in memory, which must stay unchanged."""
    return _load(memoryview(data).cast("B"), "", limits)


def _load(data: memoryview, source: str, limits: Limits) -> Graph:
    where = source or "model"
    try:
        return _graph(read(data, where, limits), source, where)
    except WalleError:
        raise
    except DamagedError as error:
        raise ModelError(f"{where}: not a readable TFLite model: {error}; is the file complete?") from None
    except MemoryError as error:
        raise ModelError(f"{where}: the model does not fit into memory") from error
    except Exception as error:  # a damaged file must never end in anything else
        raise ModelError(
            f"{where}: damaged in an unexpected way ({type(error).__name__}: {error})"
        ) from error


def _rules() -> None:
    """Fills RULES: the modules of rules register themselves."""
    from walle_core.frontends.tflite import arithmetic, movement, windows  # noqa: F401


def _graph(model: Model, source: str, where: str) -> Graph:
    _rules()
    work = Lowering(model)
    refused: dict[tuple[str, str], list[int]] = {}
    for operator in model.operators:
        try:
            lower(work, operator)
        except Refused as why:
            refused.setdefault((operator.name, str(why)), []).append(operator.position)
    if refused:
        listed = "; ".join(
            f"{name} (operator {', '.join(map(str, places))}): {why}"
            for (name, why), places in refused.items()
        )
        raise UnsupportedError(f"{where}: cannot be run: {listed}; convert the model without them")
    inputs = [model.tensors[i] for i in model.inputs]
    if given := [t.name for t in inputs if t.data is not None]:
        raise ModelError(f"{where}: graph input {given[0]!r} has a value in the file")
    for index in model.outputs:
        if model.tensors[index].data is not None:
            work.stored(index)
    names, outputs = tuple(t.name for t in inputs), tuple(model.tensors[i].name for i in model.outputs)
    for what, listed_names in (("input", names), ("output", outputs)):
        if len(set(listed_names)) != len(listed_names):
            raise ModelError(f"{where}: the graph has an {what} twice")
    nodes = sorted_nodes(work.nodes, {*names, *work.constants}, where)
    made = {*names, *work.constants, *(o for n in nodes for o in n.outputs)}
    if absent := [o for o in outputs if o not in made]:
        raise ModelError(f"{where}: output {absent[0]!r} is made by no operator")
    specs = {**work.specs, **{t.name: t.spec for t in inputs}}
    metadata = {"producer": model.description} if model.description else {}
    return Graph(names, outputs, nodes, work.constants, specs, model.name, source, metadata)


class TfliteFrontend:
    """Loads ``.tflite`` files."""

    name = "tflite"
    suffixes: Sequence[str] = (".tflite",)

    def sniff(self, head: bytes) -> bool:
        """True if the file identifier is there."""
        return head[4:8] == s.IDENTIFIER

    def load(self, path: str | os.PathLike[str]) -> Graph:
        """The Graph of a file; see `load`."""
        return load(path)

    def load_bytes(self, data: bytes | bytearray | memoryview) -> Graph:
        """The Graph of bytes; see `load_bytes`."""
        return load_bytes(data)
