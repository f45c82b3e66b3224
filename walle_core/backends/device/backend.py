"""DeviceBackend: candidates under a device's limits, an Image from the emitter, rates from short probes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.device import elementwise, movement, product, windows
from walle_core.backends.device.contract import Image, Loaded, OpenDevice
from walle_core.backends.device.elementwise import INPUTS, STAGES, emit_chain
from walle_core.backends.device.emitter import Emitter, Rule
from walle_core.backends.device.operations import Operations
from walle_core.backends.table.backend import GAPS
from walle_core.backends.table.chain import Group, fuse_chains
from walle_core.backends.work import work_of
from walle_core.errors import BackendError, InputError
from walle_core.graph.ir import Graph, Node
from walle_core.memory import ArenaPlan
from walle_core.protocols import BackendTraits
from walle_core.types import Candidate, Device, DeviceRates, TensorSpec


@attrs.frozen(eq=False)
class DeviceExecutable:
    """An image in a device's memory.

    Attributes:
        loaded: runs it.
        image: what was loaded.
        arena: how its memory was planned.
    """

    loaded: Loaded
    image: Image
    arena: ArenaPlan

    def run(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Runs once. Raises DeviceError, or InputError if the inputs are not as many as the graph has."""
        self._count(inputs)
        return self.loaded.run(inputs)

    def profile(self, inputs: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[int]]:
        """(outputs, nanoseconds per launch)."""
        self._count(inputs)
        return self.loaded.profile(inputs)

    def _count(self, inputs: Sequence[Tensor]) -> None:
        if len(inputs) != len(self.image.inputs):
            raise InputError(f"{len(inputs)} inputs were given; the graph has {len(self.image.inputs)}")

    def describe(self) -> list[dict[str, Any]]:
        """Name, kernel, algorithm and work of every launch; launches with one `item` do that work together."""
        items: dict[int, int] = {}
        return [
            {
                "name": step.name,
                "kernel": "/".join([step.built.name, *(choice for _, choice in step.built.variants)]),
                "item": items.setdefault(id(step.purpose), len(items)),
                "groups": step.groups,
                "local": step.built.local,
                **attrs.asdict(step.purpose),
            }
            for step in self.image.launches
        ]


class DeviceBackend:
    """A backend over a device that runs the kernels of `kernels/`.

    Args:
        name: unique name of the backend.
        version: of the plugin; part of cache keys.
        open_device: opens the device, or gives None where this machine has none; called once, on first use.
        known_gaps: conformance test name pattern -> reason.
    """

    kit_share = (
        16  # of the conformance kit's cases one in so many runs by default: each builds kernels of its own
    )

    def __init__(
        self,
        name: str,
        version: str,
        open_device: Callable[[], OpenDevice | None],
        known_gaps: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.version = name, version
        self.known_gaps: Mapping[str, str] = {**GAPS, **(known_gaps or {})}
        self._open = open_device
        self._opened: OpenDevice | None = None
        self._tried = False
        self._rules: dict[str, list[Rule]] = {}
        self._lock = threading.Lock()
        for rule in (r for family in (elementwise, product, windows, movement) for r in family.rules()):
            for op in rule.ops:
                self._rules.setdefault(op, []).append(rule)

    @property
    def traits(self) -> BackendTraits:
        """Channels last; a processor that is driven as a device shares the host's memory."""
        opened = self.opened
        shares = opened is not None and opened.device.traits.get("kind") == "cpu"
        return BackendTraits(layout="NHWC", shares_host_memory=shares)

    @property
    def opened(self) -> OpenDevice | None:
        """The device; None where there is none."""
        with self._lock:
            if not self._tried:
                self._opened, self._tried = self._open(), True
            return self._opened

    def devices(self) -> list[Device]:
        """The device, if there is one."""
        return [self.opened.device] if self.opened is not None else []

    def candidates(
        self, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
    ) -> list[Candidate]:
        """All algorithms of all rules that take the node under the device's limits."""
        if self.opened is None:
            return []
        limits = self.opened.limits
        names = [n for n in (*node.inputs, *node.outputs) if n and n in specs]
        if any(specs[n].nbytes > limits.buffer_bytes for n in names):
            return []
        ops = Operations(limits)
        return [
            attrs.evolve(candidate, params={**candidate.params, "rule": rule.name})
            for rule in self._rules.get(node.op, ())
            for candidate in rule.candidates(ops, node, specs, constants)
        ]

    def prepare(
        self, graph: Graph, choices: Mapping[str, Candidate], threads: int, precision: str
    ) -> DeviceExecutable:
        """Packs weights, emits the launches, plans the memory and loads. Raises BackendError or DeviceError."""
        del threads, precision
        if self.opened is None:
            raise BackendError(f"{self.name}: this machine has no device for it")
        em = Emitter(graph, self.opened.limits)
        ops = Operations(self.opened.limits)
        for item in fuse_chains(graph, choices, ops, (INPUTS, STAGES), _chain):
            em.purpose(work_of(item.nodes or (item.node,), item.algorithm, graph, choices))
            item.emit(em) if item.emit is not None else self._emit(em, item.node, choices)
        image, arena = em.finish()
        return DeviceExecutable(self.opened.load(image), image, arena)

    def _emit(self, em: Emitter, node: Node, choices: Mapping[str, Candidate]) -> None:
        choice = choices[node.name]
        wanted = choice.params.get("rule")
        rule = next((r for r in self._rules.get(node.op, ()) if r.name == wanted), None)
        if rule is None:
            raise BackendError(f"{self.name}: the plan for {node} names rule {wanted!r}, which is gone")
        rule.emit(em, node, choice)

    def calibrate(self, device: Device, threads: int, progress: Callable[[str], None]) -> DeviceRates:
        """Measures rates with short runs of the real kernels."""
        from walle_core.backends.device.calibrate import measure

        del device, threads
        return measure(self, progress)


def _chain(group: Group) -> Callable[[Any], None]:
    return lambda em: emit_chain(em, group.nodes, group.inputs)
