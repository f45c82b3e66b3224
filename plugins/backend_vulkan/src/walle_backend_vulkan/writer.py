"""GLSL from the kernels of the dialect: one shader per kernel and choice of variants, constants specialised later."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from walle_core.backends.device.source import Source, definitions, functions, kernel, kernels

LOCAL_IDS = 3  # specialisation constants 0..2 are the work group's size
WIDTHS = ("1", "4")
EXTENSIONS = (
    "GL_EXT_control_flow_attributes", "GL_EXT_shader_explicit_arithmetic_types", "GL_EXT_shader_8bit_storage",
    "GL_EXT_shader_16bit_storage",
)  # fmt: skip


def module_name(name: str, variants: Mapping[str, str]) -> str:
    """File name of the SPIR-V of a kernel with these variants, without suffix."""
    return "-".join([name, *variants.values()])


def modules() -> Iterator[tuple[Source, dict[str, str]]]:
    """All kernels with all their variants that GLSL has vectors for."""
    for source in kernels().values():
        for choice in itertools.product(*source.variants.values()):
            variants = dict(zip(source.variants, choice, strict=True))
            if variants.get("W", "1") in WIDTHS:
                yield source, variants


@cache
def _prelude() -> str:
    return files("walle_backend_vulkan").joinpath("prelude.glsl").read_text(encoding="utf-8")


def shader(name: str, variants: Mapping[str, str]) -> str:
    """The GLSL of a kernel."""
    source = kernel(name)
    width = variants.get("W", "1")
    lines = ["#version 450", *(f"#extension {e} : require" for e in EXTENSIONS)]
    lines += [f"#define W {width}", _prelude()]
    lines += [f"#define {key} {choice}" for key, choice in variants.items() if key != "W"]
    lines.append("layout(local_size_x_id = 0, local_size_y_id = 1, local_size_z_id = 2) in;")
    for i, (key, default) in enumerate(source.constants.items()):
        lines.append(f"layout(constant_id = {LOCAL_IDS + i}) const int {key} = {default};")
    for i, buffer in enumerate(source.buffers):
        access = "" if buffer.written else "readonly "
        head = f"layout(std430, set = 0, binding = {i}) {access}buffer"
        lines.append(f"{head} Elements{i}_ {{ {buffer.dtype} {buffer.name}[]; }};")
        if width == "4" and f"LOADA({buffer.name}," in source.body:
            lines.append(f"{head} Vectors{i}_ {{ vec4 {buffer.name}_v[]; }};")
    if source.params:
        fields = " ".join(f"{kind} {param};" for kind, param in source.params)
        lines.append(f"layout(push_constant) uniform Params {{ {fields} }};")
    lines += [f"shared {kind} {array}[{extent}];" for kind, array, extent in source.local]
    lines += [*(functions(file) for file in source.uses), definitions(source.uses)[0]]
    return "\n".join([*lines, f"void main() {{\n{source.body}}}\n"])
