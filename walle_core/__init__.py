"""Walle: device-cloud collaborative machine learning. These are the public names.

import walle_core as walle

graph = walle.load("model.onnx")
session = walle.Session(graph, threads=2)
outputs = session.run({"input": array})
print(walle.rank(graph).table())
"""

from typing import TYPE_CHECKING, Any

import walle_core.backends  # noqa: F401  importing it later would hide the function of this name
from walle_core.errors import (
    BackendError,
    CacheError,
    DeviceError,
    DeviceLostError,
    DeviceMemoryError,
    InputError,
    ModelError,
    PluginError,
    ShapeError,
    UnsupportedError,
    WalleError,
)

if TYPE_CHECKING:
    from walle_core import audio, cv, matrix, text, vm  # noqa: F401  mypy knows them by this
    from walle_core._native import Tensor
    from walle_core.graph.builder import Builder
    from walle_core.graph.ir import Graph, Node
    from walle_core.hookspecs import hookimpl
    from walle_core.loading import load, load_bytes
    from walle_core.plugins import load_plugins
    from walle_core.ranking import rank
    from walle_core.session import Module, Session
    from walle_core.vm.models import shared_model

__version__ = "0.1.0"

__all__ = [
    "BackendError", "Builder", "CacheError", "DeviceError", "DeviceLostError", "DeviceMemoryError", "Graph", "InputError", "ModelError", "Module", "Node", "PluginError",
    "Session", "ShapeError", "Tensor", "UnsupportedError", "WalleError", "backends", "hookimpl", "load", "load_bytes",
    "load_plugins", "rank", "shared_model",
]  # fmt: skip

# Imported when first asked for: every interpreter of a process, and every process that only needs an error class or
# a Tensor, would otherwise pay in time and memory for all of the core.
_HOMES = {
    "Builder": "graph.builder", "Graph": "graph.ir", "Module": "session", "Node": "graph.ir", "Session": "session",
    "Tensor": "_native", "hookimpl": "hookspecs", "load": "loading", "load_bytes": "loading", "load_plugins": "plugins",
    "rank": "ranking", "shared_model": "vm.models",
}  # fmt: skip
_AREAS = ("audio", "cv", "matrix", "text", "vm")  # modules; `from walle_core import *` leaves them out


def backends() -> dict[str, list[Any]]:
    """Installed backends and the devices that each finds on this machine."""
    from walle_core.engines import backends

    return backends()


def __getattr__(name: str) -> Any:
    if name not in _HOMES and name not in _AREAS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in _AREAS:
        return import_module(f"{__name__}.{name}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_AREAS})
