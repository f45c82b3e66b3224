"""What the core itself offers, registered through the same hooks as any plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walle_core.hookspecs import hookimpl
from walle_core.ops import catalogue
from walle_core.types import Command

if TYPE_CHECKING:
    from walle_core.ops.define import OpDef
    from walle_core.protocols import Backend, Frontend, Saver
    from walle_core.registry import Registry

COMMANDS = {
    "plugins": "List installed plugins, what each offers, and why a broken one is broken.",
    "devices": "List backends and devices with measured rates.",
    "ops": "List operators, the backends that run them natively, and the workload figure.",
    "explain": "Show a model before and after decomposition and merging, and the plan.",
    "rank": "Rank installed backends for a model by predicted time.",
    "run": "Run a model on an image, sound or array file.",
    "bench": "Measure a model's latency on the installed backends.",
    "tune": "Measure the algorithms that a model could use, and remember the fastest.",
    "quantize": "Turn a float32 model into 8-bit integers with calibration data.",
    "convert": "Convert a model from one format to another, and say what changed.",
    "cache": "List the plans kept on disk, or remove them.",
    "vm": "What tasks need of a device: disk, modules, memory.",
    "new-plugin": "Write the folder of a new plugin that passes conformance at once.",
}


@hookimpl
def walle_register_operators(registry: Registry[OpDef]) -> None:
    """The catalogue of walle_core.ops."""
    for op in catalogue().values():
        registry.add(op)


@hookimpl
def walle_register_backends(registry: Registry[Backend]) -> None:
    """The reference backend, the oracle of all others, and the portable kernels, which need no NumPy."""
    from walle_core.backends.reference import ReferenceBackend
    from walle_core.backends.table import TableBackend
    from walle_core.backends.table.stored import portable_tables

    registry.add(ReferenceBackend())
    registry.add(TableBackend("portable", "1", portable_tables))


@hookimpl
def walle_register_frontends(registry: Registry[Frontend]) -> None:
    """ONNX, TFLite and Walle's own model file."""
    from walle_core.frontends.onnx import OnnxFrontend
    from walle_core.frontends.tflite import TfliteFrontend
    from walle_core.frontends.walle_file import WalleFrontend

    registry.add(OnnxFrontend())
    registry.add(TfliteFrontend())
    registry.add(WalleFrontend())


@hookimpl
def walle_register_savers(registry: Registry[Saver]) -> None:
    """Walle's own model file and ONNX."""
    from walle_core.frontends.onnx import OnnxSaver
    from walle_core.frontends.walle_file import WalleSaver

    registry.add(WalleSaver())
    registry.add(OnnxSaver())


@hookimpl
def walle_register_commands(registry: Registry[Command]) -> None:
    """The commands of the ``walle`` program."""
    for name, summary in COMMANDS.items():
        module = name.replace("-", "_")
        registry.add(Command(name, summary, f"walle_core.cli.{module}:command"))
