"""Where the values of a graph live while a backend emits what runs it: arena, constants, inputs, outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.table.slices import Slice
from walle_core.graph.ir import Graph
from walle_core.memory import ALIGN, ArenaPlan, Lifetime, plan_arena
from walle_core.types import TensorSpec, dtype


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


def touch(operands: Iterable[Operand], now: int) -> None:
    """Notes that step `now` uses these operands."""
    for operand in operands:
        if operand.space == "arena":
            buffer = operand.target
            buffer.first = now if buffer.first < 0 else buffer.first
            buffer.last = now


def plan_buffers(operands: Iterable[Operand], align: int = ALIGN) -> tuple[ArenaPlan, dict[int, int]]:
    """The plan of an arena for all buffers among the operands of all steps, and offsets by the buffers' id.

    Args:
        operands: of all steps, touched.
        align: what offsets are multiples of; itself a multiple of `memory.ALIGN`.
    """
    buffers = list({id(o.target): o.target for o in operands if o.space == "arena"}.values())
    times = align // ALIGN  # the planner counts in its own unit
    plan = plan_arena([Lifetime(-(-b.nbytes // times), b.first, b.last) for b in buffers])
    plan = ArenaPlan(tuple(o * times for o in plan.offsets), plan.nbytes * times, plan.lower_bound * times)
    return plan, {id(b): offset for b, offset in zip(buffers, plan.offsets, strict=True)}


class Values(ABC):
    """Knows where each value of a graph lives.

    Args:
        graph: static specs for all values.
        slices: values that are written into a slice of another one.
    """

    def __init__(self, graph: Graph, slices: Mapping[str, Slice] | None = None) -> None:
        self.graph = graph
        self.slices = slices or {}
        self._places: dict[str, Operand] = {n: Operand("input", i) for i, n in enumerate(graph.inputs)}
        self._outputs = {n: i for i, n in reversed(list(enumerate(graph.outputs)))}

    @abstractmethod
    def copy(self, source: str, out: str) -> None:
        """Emits a plain copy of a value."""

    @abstractmethod
    def copy_to_output(self, place: Operand, name: str, index: int) -> None:
        """Emits a plain copy of a value, which lives at `place`, to an output."""

    def spec(self, value: str) -> TensorSpec:
        """Spec of a value."""
        if value in self.graph.specs:
            return self.graph.specs[value]
        tensor = self.graph.constants[value]
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

    def scratch(self, nbytes: int) -> Operand:
        """Arena memory that lives in the steps that use it."""
        return Operand("arena", Buffer(nbytes))

    def settle_outputs(self) -> None:
        """Copies to the outputs what lives elsewhere or is asked for twice."""
        for index, name in enumerate(self.graph.outputs):
            place = self.value(name)
            if place.space != "output" or place.target != index:
                self.copy_to_output(place, name, index)
