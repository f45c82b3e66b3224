"""`save`: finds the saver that writes a graph, by the file's name; the counterpart of `loading`."""

from __future__ import annotations

import os
from pathlib import Path

from walle_core.errors import InputError
from walle_core.graph.ir import Graph
from walle_core.plugins import load_plugins
from walle_core.protocols import Saver


def saver_of(path: str | os.PathLike[str]) -> Saver:
    """The saver for a file's name. Raises InputError if none or more than one has its ending."""
    savers = load_plugins().savers
    suffix = Path(path).suffix.lower()
    found = [s for s in savers.values() if suffix in s.suffixes]
    if len(found) != 1:
        known = " or ".join(end for s in savers.values() for end in s.suffixes)
        why = (
            f"{' and '.join(s.name for s in found)} write it"
            if found
            else f"the name of a model file ends with {known}"
        )
        raise InputError(f"{os.fspath(path)}: {why}")
    return found[0]


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes a graph; the ending of the name says how: ``.walle``, ``.onnx``, or what a plugin offers.

    Raises:
        InputError: an ending that no saver has.
        UnsupportedError: the format cannot say something that the graph has.
        ModelError: the file cannot be written.
    """
    saver_of(path).save(graph, os.fspath(path))
