"""What a plugin implements: Backend, Executable, CostModel. The core asks these questions and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:  # below graph in the order of layers
    from walle_core._native import Tensor
    from walle_core.graph.ir import Graph, Node
    from walle_core.types import Candidate, Device, DeviceRates, TensorSpec


@runtime_checkable
class Executable(Protocol):
    """A part of a graph, compiled for one backend and fixed shapes."""

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Runs once. `inputs` in the order of the part's graph inputs; returns its outputs in order."""

    def describe(self) -> Sequence[Mapping[str, Any]]:
        """One mapping per executed step (name, op, algorithm), for `walle explain` and profiles."""


@attrs.frozen
class BackendTraits:
    """What the core asks a backend before lowering for it.

    Attributes:
        layout: ``NHWC`` if image operators run channels-last, else ``NCHW``.
        native_transforms: True if the backend runs transform operators itself instead of rasters.
        shares_host_memory: True if Tensors cost no transfer.
    """

    layout: str = "NCHW"
    native_transforms: bool = False
    shares_host_memory: bool = True


@runtime_checkable
class Backend(Protocol):
    """A compute backend. Constructing one touches no hardware; `devices` is the first call that may.

    Attributes:
        name: unique, chosen by the plugin.
        version: part of cache keys.
        traits: how graphs are lowered for it.
        known_gaps: conformance test name pattern -> reason; strict (a gap that passes is a failure).
    """

    name: str
    version: str
    known_gaps: Mapping[str, str]
    traits: BackendTraits

    def devices(self) -> Sequence[Device]:
        """Devices usable now; empty where this machine has none."""

    def candidates(
        self, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
    ) -> Sequence[Candidate]:
        """The ways in which this backend can run one node; empty: it cannot (a composite is then decomposed)."""

    def prepare(
        self, graph: Graph, choices: Mapping[str, Candidate], threads: int, precision: str
    ) -> Executable:
        """Compiles a graph with static specs, every node of which has a candidate. Raises BackendError."""

    def calibrate(self, device: Device, threads: int, progress: Callable[[str], None]) -> DeviceRates:
        """Measures the device, as `threads` threads see it, in at most 2 s."""


class Step(Protocol):
    """The first step of a session for one of its inputs, which then takes something else (ADR 28).

    Attributes:
        takes: what the caller gives instead.
    """

    takes: TensorSpec

    def __call__(self, value: Any) -> Tensor:
        """The input's Tensor; not changed while anybody has it. Raises InputError for what it does not take."""

    def describe(self) -> Mapping[str, Any]:
        """What it does, as plans describe theirs (op, algorithm)."""


class Preprocessing(Protocol):
    """What Session's `preprocess` takes for an input: `walle_core.cv.Preprocess`, or another's."""

    def bind(self, spec: TensorSpec | None) -> Step:
        """The step for a graph's input of this spec (None: unknown). Raises InputError if it makes no such input."""


class CostModel(Protocol):
    """Predicts the seconds that a candidate takes on a device."""

    def seconds(self, candidate: Candidate, rates: DeviceRates) -> float:
        """Predicted seconds of this candidate, from Q / P, bytes / B and S."""


class Saver(Protocol):
    """Writes one model format.

    Attributes:
        name: unique, for example ``onnx``.
        suffixes: file name endings, with the dot.
    """

    name: str
    suffixes: Sequence[str]

    def save(self, graph: Graph, path: str) -> None:
        """Writes a graph to a file. Raises UnsupportedError for what the format cannot say, ModelError otherwise."""


class Frontend(Protocol):
    """Loads one model format.

    Attributes:
        name: unique, for example ``onnx``.
        suffixes: file name endings, with the dot.
    """

    name: str
    suffixes: Sequence[str]

    def sniff(self, head: bytes) -> bool:
        """True if a file that begins with these (at most 64) bytes is of this format beyond doubt."""

    def load(self, path: str) -> Graph:
        """The graph in a file. Raises ModelError or UnsupportedError naming the file, node and value."""

    def load_bytes(self, data: bytes) -> Graph:
        """The graph in a buffer that holds a whole file."""
