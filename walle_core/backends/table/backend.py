"""TableBackend: candidates from the emit rules, a Program from the emitter, rates from short probes."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from walle_core._native import Tensor, scalar_table
from walle_core.backends.table import (
    conv,
    depthwise,
    elementwise,
    gemm,
    halves,
    int8,
    int8_vector,
    movement,
    pool,
    reduction,
    stored,
    winograd,
)
from walle_core.backends.table.calibrate import measure
from walle_core.backends.table.chain import fuse_chains
from walle_core.backends.table.emitter import Emitter, Rule
from walle_core.backends.table.executable import TableExecutable
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.table.slices import find_slices
from walle_core.backends.work import work_of
from walle_core.errors import BackendError
from walle_core.graph.ir import Graph, Node
from walle_core.protocols import BackendTraits, Executable
from walle_core.types import Candidate, Device, DeviceRates, TensorSpec

GAPS = {
    "test_onnx_node?*-test_dft_inverse_opset19?": "expects rounding noise of one transform (2e-7) where zero is exact; "
    "the noise of a matrix product is as large, but elsewhere",
}


class TableBackend:
    """A CPU backend over kernel tables.

    Args:
        name: unique name of the backend.
        version: of the plugin; part of calibration cache keys.
        tables: gives the capsules of the tables that this CPU can run, best first; called once, on first use.
            An empty result means: nothing to offer on this machine.
        known_gaps: conformance test name pattern -> reason.
        targets: names the instruction sets that kernels are written for, whether this CPU runs them or not; default:
            those of `tables`.
    """

    def __init__(
        self,
        name: str,
        version: str,
        tables: Callable[[], Sequence[Any]],
        known_gaps: Mapping[str, str] | None = None,
        targets: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self.name, self.version = name, version
        self.known_gaps: Mapping[str, str] = {**GAPS, **(known_gaps or {})}
        self.traits = BackendTraits(layout="NHWC")
        self._tables, self._targets = tables, targets
        self._kernels: Kernels | None = None
        self._rules: dict[str, list[Rule]] = {}
        self._usable = False
        self._lock = threading.Lock()

    @property
    def kernels(self) -> Kernels:
        """Rows of all tables, the best table's first, the portable one last."""
        with self._lock:
            if self._kernels is None:
                capsules = list(self._tables())
                self._usable = bool(capsules)
                self._kernels = Kernels([*capsules, scalar_table()])
                families = [
                    gemm,
                    conv,
                    winograd,
                    depthwise,
                    pool,
                    reduction,
                    movement,
                    int8,
                    int8_vector,
                    halves,
                ]
                rules = [rule for family in families for rule in family.rules()] + elementwise.rules(
                    self._kernels
                )
                for rule in rules:
                    for op in rule.ops:
                        self._rules.setdefault(op, []).append(rule)
            return self._kernels

    def devices(self) -> list[Device]:
        """The processor, if it can run one of the tables."""
        kernels = self.kernels
        if not self._usable:
            return []
        model = _processor()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        # without the portable table that stands behind the backend's own
        own = list(self._targets()) if self._targets is not None else kernels.isas[:-1]
        traits = {"isa": kernels.isa, "lanes": kernels.lanes, "cores": cores, "targets": own}
        return [Device(model, f"{model} {kernels.isa} cores={cores}", traits)]

    def candidates(
        self, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
    ) -> list[Candidate]:
        """All algorithms of all rules that take the node."""
        kernels = self.kernels
        return [
            attrs.evolve(candidate, params={**candidate.params, "rule": rule.name})
            for rule in self._rules.get(node.op, ())
            for candidate in rule.candidates(kernels, node, specs, constants)
        ]

    def prepare(
        self, graph: Graph, choices: Mapping[str, Candidate], threads: int, precision: str
    ) -> TableExecutable:
        """Packs weights, emits the steps of every node and plans the arena. Raises BackendError."""
        del precision

        def places_rows(node: Node) -> bool:
            rule = self._rule(node, choices)
            return rule is not None and rule.places_rows

        em = Emitter(graph, self.kernels, threads, find_slices(graph, places_rows))
        for item in fuse_chains(graph, choices, self.kernels):
            em.purpose(work_of(item.nodes or (item.node,), item.algorithm, graph, choices))
            item.emit(em) if item.emit is not None else self._emit(em, item.node, choices)
        image, arena = em.finish()
        steps = tuple(
            (s.name, f"{s.kernel.family}/{s.kernel.op}/{s.kernel.isa}", s.purpose) for s in em.steps
        )
        return TableExecutable(image.program(), arena, steps, image)

    def _emit(self, em: Emitter, node: Node, choices: Mapping[str, Candidate]) -> None:
        rule, choice = self._rule(node, choices), choices[node.name]
        if rule is None:
            raise BackendError(
                f"{self.name}: the plan for {node} names rule {choice.params.get('rule')!r}, which is gone"
            )
        rule.emit(em, node, choice)

    def _rule(self, node: Node, choices: Mapping[str, Candidate]) -> Rule | None:
        wanted = choices[node.name].params.get("rule")
        return next((rule for rule in self._rules.get(node.op, ()) if rule.name == wanted), None)

    def save(self, executable: Executable) -> tuple[str, dict[str, Any], list[Tensor]] | None:
        """(who restores it, state, data) of an executable that `prepare` made; None if its tables have no address."""
        return stored.save(executable, self._tables)

    def calibrate(self, device: Device, threads: int, progress: Callable[[str], None]) -> DeviceRates:
        """Measures rates with short runs of the real kernels."""
        return measure(self, threads, progress)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
