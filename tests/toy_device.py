"""A backend on a device with a memory of its own, which lacks operators, is slow at some, or fails where a test says."""

import threading
from collections import Counter
from contextlib import contextmanager

import numpy as np

from walle_core import cost
from walle_core.backends.reference import ReferenceBackend, run_node
from walle_core.errors import DeviceLostError, DeviceMemoryError
from walle_core.plugins import load_plugins
from walle_core.protocols import BackendTraits
from walle_core.types import Candidate, Device, DeviceRates

POINTS = ("devices", "calibrate", "candidates", "prepare", "upload", "launch", "download")


class ToyDevice:
    """The backend.

    Args:
        name: of the backend.
        lacks: operators that it does not offer; any other that the NumPy references have, it does.
        slow: operator -> seconds that it is predicted to take; "" for the others, else 1e-9.
        transfer: bytes/s to and from its memory.

    Attributes:
        calls: how often each of POINTS was reached.
        lost: True once it has failed for good.
    """

    version, known_gaps = "1", {}
    traits = BackendTraits(native_transforms=True, shares_host_memory=False)

    def __init__(self, name="toy", lacks=(), slow=None, transfer=1e15):
        self.name, self.lacks, self.slow, self.transfer = name, frozenset(lacks), dict(slow or {}), transfer
        self.calls, self.lost = Counter(), False
        self._offers = ReferenceBackend()
        self._lock = threading.Lock()
        self._breaks = ("", 0, DeviceLostError)

    def breaks(self, point, after=0, error=DeviceLostError):
        """Makes it fail at that point, `after` more passages of it; for good unless it only lacks memory."""
        self._breaks = (point, after + self.calls[point], error)

    def repair(self):
        self._breaks, self.lost = ("", 0, DeviceLostError), False

    def reach(self, point):
        with self._lock:
            where, count, error = self._breaks
            self.calls[point] += 1
            if self.lost or (point == where and self.calls[point] > count):
                self.lost = not issubclass(error, (DeviceMemoryError, MemoryError))
                raise error(f"at {point} {self.calls[point]}")

    def devices(self):
        self.reach("devices")
        return [Device("a toy", f"{self.name}-{id(self)}")]

    def calibrate(self, device, threads, progress):
        self.reach("calibrate")
        return DeviceRates({"any": 1e9}, ((float("inf"), 1e18),), 0.0, 1e-9, self.transfer)

    def candidates(self, node, specs, constants):
        self.reach("candidates")
        if node.op in self.lacks or not self._offers.candidates(node, specs, constants):
            return []
        return [Candidate("toy", "any", 1e9 * self.slow.get(node.op, self.slow.get("", 1e-9)), 0.0, 0)]

    def prepare(self, graph, choices, threads, precision):
        self.reach("prepare")
        return ToyExecutable(self, graph)


class ToyExecutable:
    """Runs nodes on copies in the device's memory. Results that were not downloaded after a whole run are garbage."""

    def __init__(self, toy, graph):
        self.toy, self.graph = toy, graph
        self.constants = {n: np.asarray(t).copy() for n, t in graph.constants.items()}

    def run(self, inputs):
        memory = dict(self.constants)
        for name, value in zip(self.graph.inputs, inputs, strict=True):
            self.toy.reach("upload")
            memory[name] = np.asarray(value).copy()
        for node in self.graph.nodes:
            self.toy.reach("launch")
            made = run_node(node, [memory[n] if n else None for n in node.inputs])
            memory.update((n, np.asarray(v)) for n, v in zip(node.outputs, made, strict=True) if n)
        outputs = []
        for name in self.graph.outputs:
            self.toy.reach("download")
            outputs.append(_tensor(memory[name]))
        return outputs

    def describe(self):
        return [{"name": n.name, "op": n.op, "algorithm": "toy"} for n in self.graph.nodes]


def _tensor(array):
    from walle_core import Tensor

    return Tensor.of(np.asarray(array, order="C"))


@contextmanager
def installed(*backends):
    """Makes backends known to Sessions, and collects what they say happened: yields (kind, data) pairs."""
    plugins, events = load_plugins(), []
    plugins._observers["test"] = lambda event: events.append((event.kind, event.data))
    for backend in backends:
        plugins.backends.add(backend)
    try:
        yield events
    finally:
        del plugins._observers["test"]
        for backend in backends:
            del plugins.backends._items[backend.name], plugins.backends._adders[backend.name]
            for key in [k for k in cost._measured if k.startswith(f"{backend.name} ")]:
                del cost._measured[key]
