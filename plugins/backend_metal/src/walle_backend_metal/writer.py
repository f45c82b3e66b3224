"""How kernels are declared in the Metal shading language."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from math import prod

from walle_core.backends.device.contract import Built
from walle_core.backends.device.program import program
from walle_core.backends.device.source import Source

POSITIONS = (
    "uint3 global_ [[thread_position_in_grid]]",
    "uint3 local_ [[thread_position_in_threadgroup]]",
    "uint3 group_ [[threadgroup_position_in_grid]]",
)


@cache
def _prelude() -> str:
    return files("walle_backend_metal").joinpath("prelude.metal").read_text(encoding="utf-8")


def metal_program(builts: Sequence[Built]) -> str:
    """Source of a program of kernels k0, k1, ..., all of one width; params are a struct, after the buffers."""
    return program(builts, _prelude(), _head)


def _head(source: Source, built: Built, name: str) -> str:
    fields = "".join(f"  {kind} {param};\n" for kind, param in source.params)
    arguments = [
        f"device {'' if b.written else 'const '}{b.dtype}* {b.name} [[buffer({i})]]"
        for i, b in enumerate(source.buffers)
    ]
    if fields:
        fields = f"struct {name}_params {{\n{fields}}};\n"
        arguments.append(f"constant {name}_params& params_ [[buffer({len(arguments)})]]")
    arguments += POSITIONS
    lines = [f"  threadgroup {kind} {array}[{extent}];\n" for kind, array, extent in source.local]
    lines += [f"  const {kind} {param} = params_.{param};\n" for kind, param in source.params]
    head = f"[[kernel, max_total_threads_per_threadgroup({prod(built.local)})]] void {name}("
    return f"{fields}{head}\n    {', '.join(arguments)}) {{\n{''.join(lines)}"
