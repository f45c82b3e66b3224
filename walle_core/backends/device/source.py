"""Reads the kernels in `kernels/*.k`: headers parsed, bodies left as text for a plugin's dialect.

A file holds functions and kernels. A kernel is

    kernel NAME
        uses FILE ...                  functions of other files that its body calls
        variants W=1,4,8 T=u8,u16      fixed when the source is compiled; one choice each
        buffers out f32 c, in f32 a    `out` is written (and may be read), `in` is only read
        params i32 n, f32 alpha        scalars given at each launch
        constants ROWS=8 ACT=0         integers fixed when the kernel is built, with defaults
        local f32 tile[ROWS * 16]      memory shared by a work group
    {
        body
    }

What bodies may use is listed in docs/device-kernels.md. A constant called OP_Name stands for the number of that name in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import attrs

from walle_core.backends.device.contract import Built
from walle_core.errors import BackendError

FOLDER = Path(__file__).parent / "kernels"


@attrs.frozen
class Buffer:
    """A buffer of a kernel: written or not, element type (a type name or a variant's name), name."""

    written: bool
    dtype: str
    name: str


@attrs.frozen
class Source:
    """One kernel.

    Attributes:
        name, body: as in the file.
        uses: names of the files whose functions it needs, in order, each after what it needs itself.
        variants: name -> choices.
        buffers: in binding order.
        params: (type, name) in order.
        constants: name -> default.
        local: (type, name, extent as text) of memory shared by a group.
    """

    name: str
    body: str
    uses: tuple[str, ...] = ()
    variants: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    buffers: tuple[Buffer, ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    constants: Mapping[str, int] = attrs.field(factory=dict)
    local: tuple[tuple[str, str, str], ...] = ()

    def build(
        self, variants: Mapping[str, str | int], constants: Mapping[str, int], local: tuple[int, int, int]
    ) -> Built:
        """The identity of this kernel with these choices. Raises BackendError for a name or choice it lacks."""
        unknown = {*variants} ^ {*self.variants} or {*constants} - {*self.constants}
        wrong = [k for k, v in variants.items() if str(v) not in self.variants.get(k, ())]
        if unknown or wrong:
            raise BackendError(
                f"kernel {self.name} has no {sorted(unknown) or wrong} as asked: {dict(variants)}"
            )
        chosen = tuple((k, str(variants[k])) for k in self.variants)
        return Built(self.name, chosen, tuple({**self.constants, **constants}.items()), local)


_HEADER = re.compile(r"^kernel (\w+)\n((?:    [^\n]*\n)*)\{\n(.*?)^\}\n", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"\bOP_([A-Z]\w+)")


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _parse(name: str, header: str, body: str) -> Source:
    lines: dict[str, str] = {}
    for line in header.splitlines():
        key, _, rest = line.strip().partition(" ")
        lines[key] = f"{lines[key]}, {rest}" if key in lines else rest
    buffers = []
    for item in _items(lines.get("buffers", "")):
        access, dtype, buffer = item.split()
        buffers.append(Buffer(access == "out", dtype, buffer))
    local = []
    for item in _items(lines.get("local", "")):
        found = re.fullmatch(r"(\w+) (\w+)\[(.+)\]", item)
        assert found is not None, item
        local.append((found[1], found[2], found[3]))
    pairs = [item.split("=") for item in lines.get("variants", "").replace(", ", " ").split()]
    constants = [item.split("=") for item in lines.get("constants", "").replace(", ", " ").split()]
    return Source(
        name,
        body,
        tuple(lines.get("uses", "").replace(",", " ").split()),
        {key: tuple(choices.split(",")) for key, choices in pairs},
        tuple(buffers),
        tuple((p.split()[0], p.split()[1]) for p in _items(lines.get("params", ""))),
        {key: int(value) for key, value in constants},
        tuple(local),
    )


@cache
def _file(name: str) -> str:
    return (FOLDER / f"{name}.k").read_text(encoding="utf-8")


@cache
def functions(name: str) -> str:
    """The functions of one file: its text without kernels, between its OP_ names and their end."""
    defined, end = definitions((name,))
    return defined + _HEADER.sub("", _file(name)) + end


def definitions(uses: Sequence[str]) -> tuple[str, str]:
    """What defines the OP_ names of these files for a kernel's body, and what ends that: other files number others so."""
    numbers = {op: number for name in uses for op, number in operations(name).items()}
    defined = "".join(f"#define OP_{op} {number}\n" for op, number in numbers.items())
    return defined, "".join(f"#undef OP_{op}\n" for op in numbers)


@cache
def operations(name: str) -> Mapping[str, int]:
    """The names after OP_ of a file in order of appearance -> their numbers, from 1."""
    names = dict.fromkeys(_NAMED.findall(_file(name)))
    return {op: number for number, op in enumerate(names, 1)}


@cache
def kernels() -> Mapping[str, Source]:
    """All kernels by name."""
    found: dict[str, Source] = {}
    for path in sorted(FOLDER.glob("*.k")):
        for name, header, body in _HEADER.findall(_file(path.stem)):
            found[name] = _parse(name, header, body)
    return found


def kernel(name: str) -> Source:
    """The kernel of this name."""
    return kernels()[name]
