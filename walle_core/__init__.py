"""Walle: device-cloud collaborative machine learning. These are the public names.

import walle_core as walle

graph = walle.load("model.onnx")
session = walle.Session(graph, threads=2)
outputs = session.run({"input": array})
print(walle.rank(graph).table())
"""

import walle_core.backends  # noqa: F401  importing it later would hide the function of this name
from walle_core._native import Tensor
from walle_core.errors import (
    BackendError,
    CacheError,
    InputError,
    ModelError,
    PluginError,
    ShapeError,
    UnsupportedError,
    WalleError,
)
from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph, Node
from walle_core.hookspecs import hookimpl
from walle_core.loading import load, load_bytes
from walle_core.plugins import load_plugins
from walle_core.ranking import rank
from walle_core.session import Module, Session, backends

__version__ = "0.1.0"

__all__ = [
    "BackendError", "Builder", "CacheError", "Graph", "InputError", "ModelError", "Module", "Node", "PluginError",
    "Session", "ShapeError", "Tensor", "UnsupportedError", "WalleError", "backends", "hookimpl", "load", "load_bytes",
    "load_plugins", "rank",
]  # fmt: skip
