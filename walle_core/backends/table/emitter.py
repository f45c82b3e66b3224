"""Emitter: what an emit rule writes a node's native steps with; it becomes a Program at the end."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from walle_core._native import Kernel, Tensor
from walle_core.backends.table.executable import Image, Kernels, Work
from walle_core.backends.table.slices import Slice
from walle_core.errors import BackendError
from walle_core.graph.ir import Graph, Node
from walle_core.memory import ArenaPlan, Lifetime, plan_arena
from walle_core.types import Candidate, TensorSpec

CHUNKS_PER_THREAD = (
    4  # finer than one chunk per thread, so that a disturbed thread does not hold up the others
)


def f64(value: float) -> int:
    """A double as the int64 with the same bits: how kernels take real arguments."""
    return int(struct.unpack("<q", struct.pack("<d", float(value)))[0])


@attrs.define(eq=False)
class Buffer:
    """Arena memory with a lifetime in steps; `first` is -1 until a step touches it."""

    nbytes: int
    first: int = -1
    last: int = -1


@attrs.frozen(eq=False)
class Operand:
    """Where an operand lives: ``arena`` (a Buffer), ``constant`` (a Tensor), ``input``/``output`` (an index), ``none``."""

    space: str
    target: Any = None
    offset: int = 0

    def at(self, nbytes: int) -> Operand:
        """The same memory, `nbytes` further."""
        return attrs.evolve(self, offset=self.offset + nbytes)


NONE = Operand("none")


@attrs.frozen(eq=False)
class Step:
    """One native step before addresses are known."""

    kernel: Kernel
    operands: tuple[Operand, ...]
    args: tuple[int | Kernel, ...]
    work: int
    chunk: int
    name: str
    purpose: Work


@attrs.frozen
class Rule:
    """How a table backend runs some operators.

    Attributes:
        ops: operator names.
        candidates: (kernels, node, specs, constants) -> ways to run the node; empty: this rule cannot.
        emit: (emitter, node, candidate) -> None, appends the steps.
        places_rows: the emitted kernel takes the distance between the rows of its result (`Emitter.distance`).
        name: tells the candidates of several rules for one operator apart; candidates carry it in params["rule"].
    """

    name: str
    ops: tuple[str, ...]
    candidates: Callable[[Kernels, Node, Mapping[str, TensorSpec], Mapping[str, Any]], Sequence[Candidate]]
    emit: Callable[[Emitter, Node, Candidate], None]
    places_rows: bool = False


class Emitter:
    """Collects steps; knows where each value of the graph lives.

    Args:
        graph: static specs for all values.
        kernels: rows to choose from.
        threads: threads that the program will run with.
        slices: values that are written into a slice of another one.
    """

    def __init__(
        self, graph: Graph, kernels: Kernels, threads: int, slices: Mapping[str, Slice] | None = None
    ) -> None:
        self.graph, self.kernels, self.threads = graph, kernels, threads
        self.slices = slices or {}
        self.lanes = kernels.lanes
        self.steps: list[Step] = []
        self._places: dict[str, Operand] = {n: Operand("input", i) for i, n in enumerate(graph.inputs)}
        self._outputs = {n: i for i, n in reversed(list(enumerate(graph.outputs)))}
        self._purpose = Work()
        self._packed: dict[Any, Operand] = {}

    def spec(self, value: str) -> TensorSpec:
        """Spec of a value."""
        if value in self.graph.specs:
            return self.graph.specs[value]
        tensor = self.graph.constants[value]
        from walle_core.types import dtype

        return TensorSpec(dtype(tensor.dtype), tensor.shape)

    def is_constant(self, value: str) -> bool:
        """True if the value is known at load."""
        return value in self.graph.constants

    def constant_tensor(self, value: str) -> Tensor:
        """The Tensor of a constant value."""
        tensor: Tensor = self.graph.constants[value]
        return tensor

    def add_constant(self, tensor: Tensor) -> Operand:
        """An operand for data made at load (packed weights, offset tables)."""
        return Operand("constant", tensor)

    def value(self, name: str) -> Operand:
        """The operand of a value; its memory is laid out at first mention. ``""`` gives the null operand."""
        if not name:
            return NONE
        if name not in self._places:
            if name in self.graph.constants:
                self._places[name] = Operand("constant", self.graph.constants[name])
            elif name in self.slices:
                place = self.slices[name]
                self._places[name] = self.value(place.into).at(place.offset * self.spec(name).dtype.itemsize)
            elif name in self._outputs:
                self._places[name] = Operand("output", self._outputs[name])
            else:
                self._places[name] = Operand("arena", Buffer(self.spec(name).nbytes))
        return self._places[name]

    def distance(self, name: str, row: int) -> int:
        """Elements from row to row of a value whose rows have `row` elements."""
        return self.slices[name].distance if name in self.slices else row

    def placed(self, name: str) -> bool:
        """True if the value has memory already."""
        return name in self._places or name in self.graph.constants

    def place(self, name: str, operand: Operand) -> None:
        """Puts a value into memory that exists (a slice of a concatenation's result)."""
        self._places[name] = operand

    def alias(self, out: str, source: str) -> None:
        """Makes `out` the same memory as `source` (a view); copies where a graph output needs memory of its own."""
        if out in self._outputs:
            self.copy(source, out)
        else:
            self._places[out] = self.value(source)

    def copy(self, source: str, out: str) -> None:
        """Emits a plain copy of a value."""
        nbytes = self.spec(out).nbytes
        kernel = self.require("raster", "1", "")
        rows, row = (nbytes // 4096, 4096) if nbytes >= 65536 and nbytes % 4096 == 0 else (1, nbytes)
        args = [1, 1, 0, 0, 1, rows, row, 0, row, 1, 0, row, 1]
        self.step(
            kernel, [self.value(out), self.value(source)], args, work=rows, grain=16, name=f"copy {out}"
        )

    def scratch(self, nbytes: int) -> Operand:
        """Arena memory that lives in the steps that use it."""
        return Operand("arena", Buffer(nbytes))

    def kernel(self, family: str, op: str, dtype: str = "float32") -> Kernel | None:
        """The kernel row, or None."""
        return self.kernels.kernel(family, op, dtype)

    def require(self, family: str, op: str, dtype: str = "float32") -> Kernel:
        """The kernel row. Raises BackendError if the tables lack it."""
        kernel = self.kernels.kernel(family, op, dtype)
        if kernel is None:
            raise BackendError(f"the kernel tables have no row {family}/{op}/{dtype}")
        return kernel

    def step(
        self,
        kernel: Kernel | None,
        operands: Sequence[Operand],
        args: Sequence[int | Kernel] = (),
        work: int = 1,
        grain: int = 1,
        name: str = "",
    ) -> None:
        """Appends a step over `work` units, of which fewer than `grain` are not worth another thread."""
        if kernel is None:
            raise BackendError(f"step {name!r}: the kernel tables lack a row that the plan relies on")
        chunk = (
            max(grain, -(-work // (self.threads * CHUNKS_PER_THREAD))) if self.threads > 1 else max(work, 1)
        )
        now = len(self.steps)
        for operand in operands:
            if operand.space == "arena":
                buffer = operand.target
                buffer.first = now if buffer.first < 0 else buffer.first
                buffer.last = now
        self.steps.append(
            Step(kernel, tuple(operands), tuple(args), work, max(1, chunk), name, self._purpose)
        )

    def packed(
        self, kernel: Kernel | None, name: str, args: Sequence[int], work: int, floats: int
    ) -> Operand:
        """A constant packed at load; nodes that read it in the same form (the steps of a recurrent layer) share it."""
        source = self.constant_tensor(name)
        key = (id(source), kernel.family if kernel else "", kernel.op if kernel else "", tuple(args), work)
        if key not in self._packed:
            made = Tensor((floats,), "float32", zero=False)
            self.run_now(kernel, [made, source], args, work)
            self._packed[key] = self.add_constant(made)
        return self._packed[key]

    def run_now(
        self, kernel: Kernel | None, tensors: Sequence[Tensor | None], args: Sequence[int], work: int
    ) -> None:
        """Runs a kernel at load, for example to pack weights."""
        if kernel is None:
            raise BackendError("the kernel tables lack a row that packing relies on")
        kernel(tensors, args, work)

    def purpose(self, work: Work) -> None:
        """Labels the steps that follow."""
        self._purpose = work

    def finish(self) -> tuple[Image, ArenaPlan]:
        """What the program is made from, and how its arena was planned."""
        for index, name in enumerate(self.graph.outputs):
            place = self.value(name)
            if place.space != "output" or place.target != index:
                self._places.pop(name) if place.space == "output" else None
                self._copy_to_output(place, name, index)
        buffers = list(
            {id(o.target): o.target for s in self.steps for o in s.operands if o.space == "arena"}.values()
        )
        plan = plan_arena([Lifetime(b.nbytes, b.first, b.last) for b in buffers])
        where = {id(b): offset for b, offset in zip(buffers, plan.offsets, strict=True)}
        steps = [
            (s.kernel, [_address(o, where) for o in s.operands], s.args, s.work, s.chunk) for s in self.steps
        ]
        specs = [self.spec(n) for n in self.graph.inputs], [self.spec(n) for n in self.graph.outputs]
        inputs, outputs = ([(s.dtype.name, s.sizes) for s in group] for group in specs)
        return Image(plan.nbytes, steps, inputs, outputs, self.threads), plan

    def _copy_to_output(self, place: Operand, name: str, index: int) -> None:
        nbytes = self.spec(name).nbytes
        args = [1, 1, 0, 0, 1, 1, nbytes, 0, 0, 1, 0, 0, 1]
        kernel = self.require("raster", "1", "")
        self.step(kernel, [Operand("output", index), place], args, name=f"copy {name}")
        self._places[name] = place


def _address(operand: Operand, where: Mapping[int, int]) -> tuple[str, Any, int]:
    if operand.space == "arena":
        return ("arena", where[id(operand.target)] + operand.offset, 0)
    return (operand.space, operand.target if operand.space != "none" else 0, operand.offset)
