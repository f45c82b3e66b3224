"""Emitter: what an emit rule writes a node's native steps with; it becomes a Program at the end."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from walle_core._native import Kernel, Tensor
from walle_core.backends.table.executable import Image, Work
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.table.slices import Slice
from walle_core.backends.values import Operand, Values, plan_buffers, touch
from walle_core.errors import BackendError
from walle_core.graph.ir import Graph, Node
from walle_core.memory import ArenaPlan
from walle_core.types import Candidate, TensorSpec

CHUNKS_PER_THREAD = (
    4  # finer than one chunk per thread, so that a disturbed thread does not hold up the others
)


def f64(value: float) -> int:
    """A double as the int64 with the same bits: how kernels take real arguments."""
    return int(struct.unpack("<q", struct.pack("<d", float(value)))[0])


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


class Emitter(Values):
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
        super().__init__(graph, slices)
        self.kernels, self.threads, self.lanes = kernels, threads, kernels.lanes
        self.steps: list[Step] = []
        self._purpose = Work()
        self._packed: dict[Any, Operand] = {}

    def copy(self, source: str, out: str) -> None:
        """Emits a plain copy of a value."""
        nbytes = self.spec(out).nbytes
        kernel = self.require("raster", "1", "")
        rows, row = (nbytes // 4096, 4096) if nbytes >= 65536 and nbytes % 4096 == 0 else (1, nbytes)
        args = [1, 1, 0, 0, 1, rows, row, 0, row, 1, 0, row, 1]
        self.step(
            kernel, [self.value(out), self.value(source)], args, work=rows, grain=16, name=f"copy {out}"
        )

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
        touch(operands, now)
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
        self.settle_outputs()
        plan, where = plan_buffers(o for s in self.steps for o in s.operands)
        steps = [
            (s.kernel, [_address(o, where) for o in s.operands], s.args, s.work, s.chunk) for s in self.steps
        ]
        specs = [self.spec(n) for n in self.graph.inputs], [self.spec(n) for n in self.graph.outputs]
        inputs, outputs = ([(s.dtype.name, s.sizes) for s in group] for group in specs)
        return Image(plan.nbytes, steps, inputs, outputs, self.threads), plan

    def copy_to_output(self, place: Operand, name: str, index: int) -> None:
        """Emits a plain copy to an output."""
        nbytes = self.spec(name).nbytes
        args = [1, 1, 0, 0, 1, 1, nbytes, 0, 0, 1, 0, 0, 1]
        kernel = self.require("raster", "1", "")
        self.step(kernel, [Operand("output", index), place], args, name=f"copy {name}")


def _address(operand: Operand, where: Mapping[int, int]) -> tuple[str, Any, int]:
    if operand.space == "arena":
        return ("arena", where[id(operand.target)] + operand.offset, 0)
    return (operand.space, operand.target if operand.space != "none" else 0, operand.offset)
