"""What a control-flow node and its graphs must agree on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from walle_core.errors import ModelError
from walle_core.graph.footprint import SMALL
from walle_core.graph.ir import Graph, Node
from walle_core.memory import available_bytes

# Trips of one loop: one whose condition stays true would never end. The variable WALLE_MAX_TRIPS sets another number.
MAX_TRIPS = 1 << 18
BODIES: Mapping[str, tuple[str, ...]] = {
    "If": ("then_branch", "else_branch"), "Loop": ("body",), "Scan": ("body",), "SequenceMap": ("body",),
}  # fmt: skip


def check_control(node: Node) -> None:
    """Raises ModelError if a graph is missing or takes or returns another number of values than the node."""
    names = BODIES.get(node.op)
    if names is None:
        return
    for name in names:
        body = node.attrs.get(name)
        if not isinstance(body, Graph):
            raise ModelError(f"node {node}: attribute {name!r} must be a graph; export the model again")
        taken, least, most = _arity(node, len(body.outputs))
        if len(body.inputs) != taken:
            raise ModelError(
                f"node {node}: {name} takes {len(body.inputs)} inputs, but the node gives it {taken}"
            )
        if not least <= len(body.outputs):
            raise ModelError(f"node {node}: {name} returns {len(body.outputs)} values; it needs {least}")
        if len(node.outputs) != most:
            raise ModelError(f"node {node}: names {len(node.outputs)} outputs, but {name} returns {most}")
    if node.op in ("If", "SequenceMap") and not (node.inputs and node.inputs[0]):
        raise ModelError(f"node {node}: its first input is missing")


def condition_of(node: Node, value: Any) -> bool:
    """The one truth value that a control-flow node is given. Raises ModelError if it is none."""
    if getattr(value, "size", 0) != 1 or str(getattr(value, "dtype", "string")) in ("string", "object"):
        raise ModelError(f"node {node}: the condition must be one bool, not {value!r}")
    return bool(value.reshape(()).tolist())


def trips_of(node: Node, value: Any) -> int:
    """The number of trips that a loop is given. Raises ModelError if it is none."""
    if getattr(value, "size", 0) != 1 or str(getattr(value, "dtype", "string"))[:3] not in ("int", "uin"):
        raise ModelError(f"node {node}: the number of trips must be one integer, not {value!r}")
    return int(value.reshape(()).tolist())


def _most_trips() -> int:
    given = os.environ.get("WALLE_MAX_TRIPS", "")
    return int(given) if given.isdigit() else MAX_TRIPS


def check_trips(done: int, held: int = 0) -> None:
    """Raises ModelError for a loop that has run so long, or collected so many bytes, that it will hardly end well."""
    if done and done % 256 == 0 and done >= _most_trips():
        raise ModelError(
            f"the loop still runs after {done} trips and may never end; set WALLE_MAX_TRIPS to a larger number if it must"
        )
    if held > SMALL and held > available_bytes():
        raise ModelError(
            f"the loop has collected {held} bytes after {done} trips, more than there is memory for"
        )


def _arity(node: Node, returned: int) -> tuple[int, int, int]:
    """(values that the graph is given, values that it must return at least, outputs that the node then has)."""
    if node.op == "If":
        return 0, len(node.outputs), returned
    if node.op == "Loop":
        carried = max(0, len(node.inputs) - 2)
        return 2 + carried, 1 + carried, returned - 1
    if node.op == "Scan":
        scanned = node.attrs.get("num_scan_inputs")
        if not isinstance(scanned, int) or not 0 < scanned <= len(node.inputs):
            raise ModelError(
                f"node {node}: num_scan_inputs is {scanned!r}, but there are {len(node.inputs)} inputs"
            )
        return len(node.inputs), len(node.inputs) - scanned, returned
    return len(node.inputs), 1, returned
