"""Parts of plans that are ready to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from walle_core.protocols import Executable


@attrs.frozen(eq=False)
class PreparedPart:
    """A part of a plan: values it reads and makes, and the executable.

    Attributes:
        predicted_s: seconds of one run as the search predicts them.
    """

    backend: str
    device: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    executable: Executable
    nodes: int
    predicted_s: float


@attrs.frozen(eq=False)
class StoredPlan:
    """A plan of one part that was read from the cache; the graph it came from has not been read."""

    parts: Sequence[PreparedPart]

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Outputs in the graph's order."""
        return self.parts[0].executable.run(inputs)
