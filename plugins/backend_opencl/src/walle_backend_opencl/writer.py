"""How kernels are declared in OpenCL C."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from walle_core.backends.device.contract import Built
from walle_core.backends.device.program import program
from walle_core.backends.device.source import Source


@cache
def _prelude() -> str:
    return files("walle_backend_opencl").joinpath("prelude.h").read_text(encoding="utf-8")


def opencl_program(builts: Sequence[Built]) -> str:
    """Source of a program of kernels k0, k1, ..., all of one width."""
    return program(builts, _prelude(), _head)


def _head(source: Source, built: Built, name: str) -> str:
    arguments = [
        f"__global {'' if b.written else 'const '}{b.dtype}* {'restrict ' if b.written else ''}{b.name}"
        for b in source.buffers
    ]
    arguments += [f"const {kind} {param}" for kind, param in source.params]
    local = "".join(f"  __local {kind} {array}[{extent}];\n" for kind, array, extent in source.local)
    sizes = ", ".join(map(str, built.local))
    return f"__kernel __attribute__((reqd_work_group_size({sizes})))\nvoid {name}({', '.join(arguments)}) {{\n{local}"
