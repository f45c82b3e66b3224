"""Kernels as one source for a compiler that takes text: constants and variants are macros around each kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from walle_core.backends.device.contract import Built
from walle_core.backends.device.source import Source, definitions, functions, kernel


def width(built: Built) -> str:
    """The width of a kernel's vectors; 1 if it has none."""
    return dict(built.variants).get("W", "1")


def by_width(builts: Sequence[Built]) -> list[list[Built]]:
    """The different ones among these, in groups that can share a program."""
    groups: dict[str, list[Built]] = {}
    for built in dict.fromkeys(builts):
        groups.setdefault(width(built), []).append(built)
    return list(groups.values())


def program(builts: Sequence[Built], prelude: str, head: Callable[[Source, Built, str], str]) -> str:
    """Source of a program of kernels k0, k1, ..., all of one width.

    Args:
        builts: the kernels.
        prelude: what the dialect's macros are in the compiler's language; W is defined before it.
        head: gives a kernel's declaration, from its source, choices and name, up to where the body begins.
    """
    wide = {width(b) for b in builts}
    assert len(wide) == 1, "a program has one vector width"
    used = dict.fromkeys(name for b in builts for name in kernel(b.name).uses)
    pieces = [f"#define W {wide.pop()}\n", prelude, *(functions(name) for name in used)]
    return "".join([*pieces, *(_kernel(b, f"k{i}", head) for i, b in enumerate(builts))])


def _kernel(built: Built, name: str, head: Callable[[Source, Built, str], str]) -> str:
    source = kernel(built.name)
    fixed = [(key, choice) for key, choice in built.variants if key != "W"]
    fixed += [(key, str(value)) for key, value in built.constants]
    defined, end = definitions(source.uses)
    return "".join([
        defined,
        *(f"#define {key} {value}\n" for key, value in fixed),
        head(source, built, name),
        f"{source.body}}}\n",
        *(f"#undef {key}\n" for key, _ in fixed),
        end,
    ])  # fmt: skip
