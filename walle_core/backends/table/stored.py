"""A native program as plain data: kernels by name, constants by number, addresses as offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from walle_core._native import Kernel, Tensor, scalar_table
from walle_core.backends.table.executable import Image, TableExecutable, Work
from walle_core.backends.table.kernels import Kernels
from walle_core.errors import CacheError

RESTORE = f"{__name__}:restore"
SPACES = ("none", "arena", "constant", "input", "output")


def portable_tables() -> list[Any]:
    """The table that is compiled into the core."""
    return [scalar_table()]


def address(tables: Callable[[], Sequence[Any]]) -> str:
    """``module:name`` of the function that gives the tables; "" if it cannot be found again by that."""
    module, name = getattr(tables, "__module__", ""), getattr(tables, "__qualname__", "")
    found = getattr(import_module(module), name, None) if module and name.isidentifier() else None
    return f"{module}:{name}" if found is tables else ""


def save(
    executable: Any, tables: Callable[[], Sequence[Any]]
) -> tuple[str, dict[str, Any], list[Tensor]] | None:
    """(who restores it, state for JSON, data that the state numbers); None if it cannot be stored."""
    where = address(tables)
    if not where or not isinstance(executable, TableExecutable):
        return None
    image = executable.image
    kernels: dict[tuple[str, ...], int] = {}
    constants: dict[int, int] = {}
    data: list[Tensor] = []

    def number(kernel: Kernel) -> int:
        return kernels.setdefault((kernel.family, kernel.op, kernel.dtype, kernel.isa), len(kernels))

    def operand(space: str, first: Any, second: int) -> list[int]:
        if space == "constant":
            if id(first) not in constants:
                constants[id(first)] = len(data)
                data.append(first)
            first = constants[id(first)]
        return [SPACES.index(space), int(first), int(second)]

    steps = [
        [
            number(kernel),
            [operand(*o) for o in operands],
            [[number(a)] if isinstance(a, Kernel) else int(a) for a in args],
            work,
            chunk,
        ]
        for kernel, operands, args, work, chunk in image.steps
    ]
    purposes: dict[int, int] = {}
    works: list[list[Any]] = []
    labels = []
    for name, kernel_name, work in executable.steps:
        if id(work) not in purposes:
            purposes[id(work)] = len(works)
            works.append([work.algorithm, dict(work.params), work.ops, work.bytes, work.flops])
        labels.append([name, kernel_name, purposes[id(work)]])
    state = {
        "tables": where, "kernels": [list(k) for k in kernels], "arena": image.arena, "steps": steps,
        "inputs": image.inputs, "outputs": image.outputs, "threads": image.threads, "works": works, "labels": labels,
    }  # fmt: skip
    return RESTORE, state, data


def restore(
    state: Mapping[str, Any], data: Sequence[Tensor], function: Callable[[str], Any]
) -> TableExecutable:
    """The executable again.

    Args:
        state, data: as `save` gave them.
        function: finds a function of an installed plugin by ``module:name``.

    Raises:
        CacheError: a kernel is gone, or an operand lies outside its memory.
    """
    tables = Kernels([*function(state["tables"])(), scalar_table()])
    found = []
    for family, op, dtype, isa in state["kernels"]:
        kernel = tables.kernel(family, op, dtype)
        if kernel is None or kernel.isa != isa:
            raise CacheError(f"kernel {isa}/{family}/{op}/{dtype} is not there")
        found.append(kernel)
    arena = int(state["arena"])
    limits = {
        "arena": arena, "constant": len(data), "input": len(state["inputs"]), "output": len(state["outputs"]), "none": 1,
    }  # fmt: skip

    def operand(code: int, first: int, second: int) -> tuple[str, Any, int]:
        space = SPACES[code]
        if not 0 <= first < max(1, limits[space]) or second < 0:
            raise CacheError(f"operand {space} {first} is outside")
        if space == "constant":
            if second >= max(1, data[first].nbytes):
                raise CacheError(f"byte {second} of constant {first} is outside")
            return space, data[first], second
        return space, first, second

    steps = [
        (
            found[kernel],
            [operand(*o) for o in operands],
            [found[a[0]] if isinstance(a, list) else a for a in args],
            work,
            chunk,
        )
        for kernel, operands, args, work, chunk in state["steps"]
    ]
    works = [
        Work(algorithm, {k: tuple(v) if isinstance(v, list) else v for k, v in params.items()}, *numbers)
        for algorithm, params, *numbers in state["works"]
    ]
    labels = tuple((name, kernel, works[work]) for name, kernel, work in state["labels"])
    inputs, outputs = ([(d, tuple(s)) for d, s in state[k]] for k in ("inputs", "outputs"))
    image = Image(arena, steps, inputs, outputs, int(state["threads"]))
    return TableExecutable(image.program(), None, labels, image)
