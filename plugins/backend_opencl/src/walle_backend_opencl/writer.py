"""OpenCL C from the kernels of the dialect: one program per vector width, kernels with their constants defined."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from walle_core.backends.device.contract import Built
from walle_core.backends.device.source import definitions, functions, kernel


def width(built: Built) -> str:
    """The width of a kernel's vectors; 1 if it has none."""
    return dict(built.variants).get("W", "1")


@cache
def _prelude() -> str:
    return files("walle_backend_opencl").joinpath("prelude.h").read_text(encoding="utf-8")


def program(builts: Sequence[Built]) -> str:
    """Source of a program of kernels k0, k1, ..., all of one width."""
    wide = {width(b) for b in builts}
    assert len(wide) == 1, "a program has one vector width"
    used = dict.fromkeys(name for b in builts for name in kernel(b.name).uses)
    pieces = [f"#define W {wide.pop()}\n", _prelude(), *(functions(name) for name in used)]
    return "".join([*pieces, *(_kernel(b, f"k{i}") for i, b in enumerate(builts))])


def _kernel(built: Built, name: str) -> str:
    source = kernel(built.name)
    fixed = [(key, choice) for key, choice in built.variants if key != "W"]
    fixed += [(key, str(value)) for key, value in built.constants]
    arguments = [
        f"__global {'' if b.written else 'const '}{b.dtype}* {'restrict ' if b.written else ''}{b.name}"
        for b in source.buffers
    ]
    arguments += [f"const {kind} {param}" for kind, param in source.params]
    local = "".join(f"  __local {kind} {array}[{extent}];\n" for kind, array, extent in source.local)
    sizes = ", ".join(map(str, built.local))
    defined, end = definitions(source.uses)
    return "".join([
        defined,
        *(f"#define {key} {value}\n" for key, value in fixed),
        f"__kernel __attribute__((reqd_work_group_size({sizes})))\n",
        f"void {name}({', '.join(arguments)}) {{\n{local}{source.body}}}\n",
        *(f"#undef {key}\n" for key, _ in fixed),
        end,
    ])  # fmt: skip
