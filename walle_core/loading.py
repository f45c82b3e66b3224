"""`load` and `load_bytes`: finds the frontend that reads a model."""

from __future__ import annotations

import os
from pathlib import Path

from walle_core.errors import ModelError
from walle_core.files import read_regular
from walle_core.graph.ir import Graph
from walle_core.plugins import load_plugins
from walle_core.protocols import Frontend

HEAD = 64  # bytes that a frontend may look at to recognise its format


def _choose(head: bytes, suffix: str, where: str) -> Frontend:
    frontends = load_plugins().frontends
    chosen = [f for f in frontends.values() if suffix and suffix in f.suffixes]
    chosen = chosen or [f for f in frontends.values() if f.sniff(head)]
    if not chosen:
        known = ", ".join(f"{f.name} ({' '.join(f.suffixes)})" for f in frontends.values())
        raise ModelError(f"{where}: no installed frontend reads this file; installed: {known}")
    return chosen[0]


def load(path: str | os.PathLike[str]) -> Graph:
    """Reads a model file into a Graph.

    Raises:
        ModelError: the file is missing, malformed or of no known format.
        UnsupportedError: it uses an operator that is not in the catalogue.
    """
    try:
        file = Path(os.fsdecode(path))
    except TypeError as error:
        raise ModelError(f"{path!r} is no path of a model file") from error
    try:
        head = read_regular(file, HEAD)
    except OSError as error:
        raise ModelError(
            f"{str(file)!r} cannot be read ({error.strerror or error}); check the path"
        ) from error
    return _choose(head, file.suffix.lower(), str(file)).load(str(file))


def load_bytes(data: bytes) -> Graph:
    """Reads a model from memory. Raises as `load` does."""
    return _choose(bytes(data[:HEAD]), "", "model bytes").load_bytes(data)
