"""Parts of plans that are ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from walle_core.errors import DeviceError, blamed
from walle_core.types import TensorSpec

if TYPE_CHECKING:
    from walle_core.protocols import Executable


@attrs.frozen
class Transfer:
    """A value that a run copies between the host's memory and a device's own.

    Attributes:
        value: its name.
        to_device: False for a result that comes back.
        nbytes, seconds: how much, and how long the search expects it to take.
    """

    value: str
    to_device: bool
    nbytes: int
    seconds: float


@attrs.frozen(eq=False)
class PreparedPart:
    """A part of a plan: values it reads and makes, and the executable.

    Attributes:
        predicted_s: seconds of one run as the search predicts them, transfers included.
        transfers: what a run copies, where the backend does not share the host's memory.
    """

    backend: str
    device: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    executable: Executable
    nodes: int
    predicted_s: float
    transfers: tuple[Transfer, ...] = ()

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Runs once. Raises DeviceError naming the backend whose device failed."""
        try:
            return self.executable.run(inputs)
        except DeviceError as error:
            raise blamed(error, self.backend, self.device) from error

    def profile(self, inputs: Sequence[Any]) -> tuple[Sequence[Any], list[dict[str, Any]]]:
        """(outputs, what `describe` says of each step with its seconds; nothing where the backend does not time them).
        Raises as `run` does.
        """
        timed = getattr(self.executable, "profile", None)
        if timed is None:
            return self.run(inputs), []
        try:
            made, times = timed(inputs)
        except DeviceError as error:
            raise blamed(error, self.backend, self.device) from error
        rows = zip(self.executable.describe(), times, strict=True)
        return made, [{**row, "seconds": t / 1e9} for row, t in rows]

    def describe(self) -> list[Mapping[str, Any]]:
        """What a run does, in order: the executable's steps between the copies."""
        copies = [
            {"name": t.value, "op": "transfer", "algorithm": "to the device" if t.to_device else "to the host",
             "bytes": t.nbytes}
            for t in self.transfers
        ]  # fmt: skip
        count = sum(t.to_device for t in self.transfers)
        return [*copies[:count], *self.executable.describe(), *copies[count:]]


@attrs.frozen(eq=False)
class StoredPlan:
    """A plan of one part that was read from the cache; the graph it came from has not been read."""

    parts: Sequence[PreparedPart]

    @property
    def whole(self) -> PreparedPart:
        """The part that is all of the plan."""
        return self.parts[0]

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Outputs in the graph's order."""
        return self.parts[0].run(inputs)


@attrs.frozen(eq=False)
class Found:
    """A stored plan and what a Session needs to know of the model.

    Attributes:
        plan: ready to run.
        inputs: (name, spec) of the graph's inputs.
        outputs: names of its outputs.
        source: what messages call the model.
        files: `stamp` of each of the model's files.
    """

    plan: StoredPlan
    inputs: Sequence[tuple[str, TensorSpec]]
    outputs: tuple[str, ...]
    source: str
    files: Sequence[Sequence[Any]] = ()
