"""What a table backend runs: kernels by name, and a native program with what its steps are for.

Restoring a stored plan needs this module and nothing of how plans are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from walle_core._native import Kernel, Program, Tensor

if TYPE_CHECKING:
    from walle_core.memory import ArenaPlan


@attrs.frozen(eq=False)
class Work:
    """What the steps of one node, or of several joined ones, are for.

    Attributes:
        algorithm, params: of the candidate taken.
        ops: Q, elementary operations of this algorithm.
        bytes: moved, as the cost model counts them.
        flops: operations by the operators' own definition, whatever the algorithm saves.
    """

    algorithm: str = ""
    params: Mapping[str, Any] = attrs.field(factory=dict)
    ops: float = 0.0
    bytes: float = 0.0
    flops: float = 0.0


@attrs.frozen(eq=False)
class Image:
    """A native program before it is one.

    Attributes:
        arena: bytes of intermediate values and scratch.
        steps: (kernel, operands, args, work, chunk) as `Program` takes them.
        inputs, outputs: (dtype name, sizes) each.
        threads: threads per run.
    """

    arena: int
    steps: Sequence[tuple[Kernel, Sequence[tuple[str, Any, int]], Sequence[int | Kernel], int, int]]
    inputs: Sequence[tuple[str, tuple[int, ...]]]
    outputs: Sequence[tuple[str, tuple[int, ...]]]
    threads: int

    def program(self) -> Program:
        """The program, over an arena of its own."""
        arena = Tensor((max(self.arena, 64),), "uint8", zero=False)
        return Program(arena, self.steps, self.inputs, self.outputs, self.threads)


@attrs.frozen(eq=False)
class TableExecutable:
    """A native program and what its steps are.

    Attributes:
        program: runs with `run(inputs)`.
        arena: how the memory was planned; None for a program that was stored.
        steps: (node name, kernel, what for) per native step.
        image: what `program` was made from, for storing it.
    """

    program: Program
    arena: ArenaPlan | None
    steps: tuple[tuple[str, str, Work], ...]
    image: Image

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Runs once, one native call."""
        return self.program.run(inputs)

    def profile(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
        """(outputs, nanoseconds per step)."""
        return self.program.profile(inputs)

    def describe(self) -> list[dict[str, Any]]:
        """Name, kernel, algorithm and work of every native step; steps with one `item` do that work together."""
        items: dict[int, int] = {}
        return [
            {
                "name": name,
                "kernel": kernel,
                "item": items.setdefault(id(work), len(items)),
                **attrs.asdict(work),
            }
            for name, kernel, work in self.steps
        ]
