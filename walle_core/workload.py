"""Which backend runs which operator, and how much hand work decomposition saves (paper, section 4.2; design 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from walle_core.errors import WalleError
from walle_core.graph.decompose import decompose
from walle_core.graph.raster import lower
from walle_core.ops import catalogue
from walle_core.ops.define import OpDef
from walle_core.testing.cases import Case, cases

NATIVE, DERIVED, ABSENT = "native", "derived", ""
PAPER_BACKENDS = 16
HOST_FAMILIES = frozenset(
    {"sequence", "string", "image"}
)  # their data never reaches a device: written once, like If


@attrs.frozen
class Coverage:
    """How the samples of an operator run on a backend: `native` of them by its own kernel, `derived` after
    decomposition, out of `total`.
    """

    native: int
    derived: int
    total: int

    @property
    def how(self) -> str:
        """``native``, ``derived`` or "" if no sample runs."""
        return NATIVE if self.native else DERIVED if self.derived else ABSENT


def coverage(backend: Any, op: OpDef, samples: Sequence[Case] | None = None) -> Coverage:
    """Tries every sample of an operator on a backend, without running it."""
    native = derived = 0
    listed = list(cases(op)) if samples is None else samples
    for case in listed:
        if backend.candidates(case.node, case.graph.specs, case.graph.constants):
            native += 1
        elif _derivable(backend, case):
            derived += 1
    return Coverage(native, derived, len(listed))


def _derivable(backend: Any, case: Case) -> bool:
    if case.op.decompose is None and case.op.regions is None:
        return False
    try:
        atomic, _ = lower(decompose(case.graph, keep=lambda *_: False))
        return all(backend.candidates(n, atomic.specs, atomic.constants) for n in atomic.nodes)
    except (WalleError, KeyError):
        return False


def matrix(
    backends: Mapping[str, Any], progress: Callable[[str], None] = lambda _: None
) -> dict[str, dict[str, Coverage]]:
    """Operator -> backend -> coverage, for every operator that has samples."""
    found = {}
    for op in catalogue().values():
        progress(op.name)
        listed = list(cases(op)) if op.kind != "control" else []
        if listed:
            found[op.name] = {name: coverage(b, op, listed) for name, b in backends.items()}
    return found


@attrs.frozen
class Workload:
    """Pieces of operator code to write by hand.

    Attributes:
        atomic, transforms, composites, control: operators in the catalogue, by kind (Raster is counted in `atomic`).
        host: atomic operators on data that no device holds (strings, sequences, files); written once in any scheme.
        targets: implementations that kernels are written for (an instruction set counts as one), with the number of
            operators that run there and the number of atomic ones among them that are its own kernels.
        without: pieces when every target writes each operator that it runs.
        needed: pieces with decomposition: its atomic kernels per target, every other operator once.
        fused: kernels for composites; they are optional and only make things faster.
    """

    atomic: int
    transforms: int
    composites: int
    control: int
    host: int
    targets: Mapping[str, tuple[int, int]]
    without: int
    needed: int
    fused: int

    @property
    def saved(self) -> float:
        """Share of the work that decomposition saves."""
        return 1 - self.needed / self.without if self.without else 0.0

    def uniform(self, backends: int = PAPER_BACKENDS) -> tuple[int, int]:
        """(without, needed) by the paper's formula: every operator on `backends` backends."""
        derived, once = self.transforms + self.composites, self.control + self.host
        return (self.atomic + derived) * backends + once, self.atomic * backends + derived + once


def workload(backends: Mapping[str, Any], progress: Callable[[str], None] = lambda _: None) -> Workload:
    """Counts from the catalogue and the registered backends. A device's trait ``targets`` names the instruction sets
    that its backend has kernels for; a backend without it is one target.
    """
    kinds = [op.kind for op in catalogue().values()]
    host = sum(op.kind == "atomic" and op.family in HOST_FAMILIES for op in catalogue().values())
    derived, control = kinds.count("transform") + kinds.count("composite"), kinds.count("control")
    table = matrix(backends, progress)
    targets: dict[str, tuple[int, int]] = {}
    fused = 0
    for name, backend in backends.items():
        rows = {op: row[name].how for op, row in table.items() if row[name].how}
        own = [op for op, how in rows.items() if how == NATIVE and catalogue()[op].kind == "atomic"]
        devices = backend.devices()
        names = devices[0].traits.get("targets", ()) if devices else ()
        for target in names or [""]:
            targets[f"{name}/{target}" if target else name] = (len(rows), len(own))
        if names:
            fused += sum(how == NATIVE and catalogue()[op].kind == "composite" for op, how in rows.items())
    return Workload(
        kinds.count("atomic") - host, kinds.count("transform"), kinds.count("composite"), control, host, targets,
        sum(rows for rows, _ in targets.values()) + control, sum(own for _, own in targets.values()) + derived + control,
        fused,
    )  # fmt: skip
