"""Emitter: what a device's rules write the launches of a node with; it becomes an `Image` at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.device.contract import Built, Image, Launch, Limits, Place
from walle_core.backends.device.source import kernel as kernel_source
from walle_core.backends.table.executable import Work
from walle_core.backends.values import Operand, Values, plan_buffers, touch
from walle_core.errors import BackendError
from walle_core.graph.ir import Graph, Node
from walle_core.memory import ArenaPlan
from walle_core.types import Candidate

ITEMS = 64  # of a group along its first axis, where nothing asks for another number


@attrs.frozen(eq=False)
class Step:
    """One launch before addresses are known."""

    built: Built
    operands: tuple[Operand, ...]
    params: tuple[int | float, ...]
    groups: tuple[int, int, int]
    name: str
    purpose: Work


@attrs.frozen
class Rule:
    """How a device runs some operators: as the rules of kernel tables, with limits instead of a table."""

    name: str
    ops: tuple[str, ...]
    candidates: Callable[..., Sequence[Candidate]]
    emit: Callable[[Emitter, Node, Candidate], None]


class Emitter(Values):
    """Collects launches; knows where each value of the graph lives.

    Args:
        graph: static specs for all values.
        limits: of the device.
    """

    def __init__(self, graph: Graph, limits: Limits) -> None:
        super().__init__(graph)
        self.limits = limits
        self.steps: list[Step] = []
        self._purpose = Work()
        self._packed: dict[Any, Operand] = {}

    def width(self, *extents: int) -> int:
        """The widest vector that is no longer than the first extent and divides all others."""
        first, *others = extents
        fits = [w for w in self.limits.lanes if w <= first and all(n % w == 0 for n in others)]
        return max(fits, default=1)

    def launch(
        self, name: str, operands: Sequence[Operand], params: Sequence[int | float], items: Sequence[int],
        node: str = "", variants: Mapping[str, str | int] | None = None, constants: Mapping[str, int] | None = None,
        local: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Appends a launch of at least `items` work items along each axis; none where an extent is 0.

        Raises BackendError for a launch beyond the device's limits.
        """
        extent = (*items, 1, 1)[:3]
        if 0 in extent:
            return
        size = self._group(extent, local)
        groups = tuple(-(-n // g) for n, g in zip(extent, size, strict=True))
        if any(n > most for n, most in zip(groups, self.limits.groups, strict=True)):
            raise BackendError(
                f"{node}: {name} needs {groups} work groups; the device starts {self.limits.groups}"
            )
        touch(operands, len(self.steps))
        built = kernel_source(name).build(variants or {}, constants or {}, size)
        step = Step(built, tuple(operands), tuple(params), groups, node, self._purpose)  # type: ignore[arg-type]
        self.steps.append(step)

    def _group(self, extent: Sequence[int], local: Sequence[int]) -> tuple[int, int, int]:
        wanted = (*(local or (ITEMS,)), 1, 1)[:3]
        size, left = [], self.limits.group_items
        for n, g, most in zip(extent, wanted, self.limits.group_sizes, strict=True):
            small = 1 << max(0, n - 1).bit_length()  # few shapes, each is built on its own
            size.append(max(1, min(g, most, small, left)))
            left //= size[-1]
        return (size[0], size[1], size[2])

    def copy(self, source: str, out: str) -> None:
        """Emits a plain copy of a value."""
        self._copy(self.value(source), self.value(out), out)

    def copy_to_output(self, place: Operand, name: str, index: int) -> None:
        """Emits a plain copy to an output."""
        self._copy(place, Operand("output", index), name)

    def _copy(self, source: Operand, target: Operand, name: str) -> None:
        from walle_core.backends.device.movement import copy_bytes

        copy_bytes(self, source, target, self.spec(name).nbytes, f"copy {name}")

    def packed(self, key: Any, make: Callable[[], Tensor]) -> Operand:
        """A constant made at load; nodes that need it in the same form (the steps of a recurrent layer) share it."""
        if key not in self._packed:
            self._packed[key] = self.add_constant(make())
        return self._packed[key]

    def purpose(self, work: Work) -> None:
        """Labels the launches that follow."""
        self._purpose = work

    def finish(self) -> tuple[Image, ArenaPlan]:
        """What the device loads, and how its arena was planned. Raises BackendError if a buffer is beyond its limits."""
        self.settle_outputs()
        plan, where = plan_buffers((o for s in self.steps for o in s.operands), self.limits.align)
        constants = _Constants(self.limits.align)
        launches, marks = [], _Marks()
        for step in self.steps:
            places = tuple(self._place(o, where, constants) for o in step.operands)
            written = [b.written for b in kernel_source(step.built.name).buffers]
            after = marks.conflict(places, written)
            launches.append(
                Launch(step.built, places, step.params, step.groups, after, step.name, step.purpose)
            )
        largest = max(plan.nbytes, constants.nbytes)
        if largest > self.limits.buffer_bytes:
            raise BackendError(
                f"{self.graph.name}: needs a buffer of {largest} bytes; the device's largest has {self.limits.buffer_bytes}"
            )
        specs = [self.spec(n) for n in self.graph.inputs], [self.spec(n) for n in self.graph.outputs]
        inputs, outputs = ([(s.dtype.name, s.sizes) for s in group] for group in specs)
        arena = max(plan.nbytes, self.limits.align)
        return Image(arena, constants.nbytes, constants.uploads, launches, inputs, outputs), plan

    def _place(self, operand: Operand, where: Mapping[int, int], constants: _Constants) -> Place:
        target, align = operand.target, self.limits.align
        if operand.space == "arena":
            return Place(
                "arena", 0, where[id(target)] + operand.offset, max(target.nbytes - operand.offset, 4)
            )
        if operand.space == "constant":
            return Place("constant", 0, constants.put(target), max(target.nbytes, 4))
        if operand.space == "none":
            return Place("constant", 0, 0, align)
        names = self.graph.inputs if operand.space == "input" else self.graph.outputs
        return Place(operand.space, target, 0, max(self.spec(names[target]).nbytes, 4))


class _Constants:
    """Where tensors lie in the memory of constants; its first unit is there for operands that are absent."""

    def __init__(self, align: int) -> None:
        self.align, self.nbytes = align, align
        self.uploads: list[tuple[int, Tensor]] = []
        self._at: dict[int, int] = {}

    def put(self, tensor: Tensor) -> int:
        if id(tensor) not in self._at:
            self._at[id(tensor)] = self.nbytes
            self.uploads.append((self.nbytes, tensor))
            self.nbytes += -(-max(tensor.nbytes, 4) // self.align) * self.align
        return self._at[id(tensor)]


class _Marks:
    """Finds the launches that must wait: what they read was written, or what they write was touched, since the last mark."""

    def __init__(self) -> None:
        self.read: list[Place] = []
        self.written: list[Place] = []

    def conflict(self, places: Sequence[Place], written: Sequence[bool]) -> bool:
        writes = [p for p, w in zip(places, written, strict=True) if w]
        reads = [p for p, w in zip(places, written, strict=True) if not w]
        wait = any(_overlap(p, q) for p in reads for q in self.written)
        wait = wait or any(_overlap(p, q) for p in writes for q in (*self.written, *self.read))
        if wait:
            self.read, self.written = [], []
        self.read += [p for p in reads if p.space == "arena"]
        self.written += writes
        return wait


def _overlap(a: Place, b: Place) -> bool:
    same = a.space == b.space and a.index == b.index
    return same and a.offset < b.offset + b.nbytes and b.offset < a.offset + a.nbytes
