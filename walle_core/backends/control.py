"""What If, Loop, Scan and SequenceMap do, given a way to call their subgraphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from walle_core.errors import BackendError
from walle_core.graph.control import check_trips
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import np_dtype
from walle_core.types import TensorSpec

Call = Callable[..., list[Any]]
Specs = Mapping[str, Sequence[TensorSpec | None]]


def _if(call: Call, _specs: Specs, operands: Sequence[Any], _attributes: Mapping[str, Any]) -> list[Any]:
    condition = operands[0]
    if condition.size != 1:
        raise BackendError(f"the condition must have one element, not {condition.size}")
    return call("then_branch" if bool(condition.reshape(())) else "else_branch")


def _stack(parts: list[Any], axis: int, spec: TensorSpec | None) -> Any:
    """Per-iteration results along a new axis; with no iteration, an empty array of the declared shape."""
    if parts:
        return np.stack(parts, axis=axis)
    sizes = [d if isinstance(d, int) else 0 for d in (spec.shape if spec and spec.shape else ())]
    return np.zeros([0, *sizes], np_dtype(spec.dtype.name) if spec else np.float32)


def _loop(call: Call, specs: Specs, operands: Sequence[Any], _attributes: Mapping[str, Any]) -> list[Any]:
    limit, go = (*operands[:2], None, None)[:2]
    limit = None if limit is None else int(limit.reshape(()))
    go = go is None or bool(go.reshape(()))
    carried = list(operands[2:])
    n_scans = len(specs["body"]) - 1 - len(carried)
    if n_scans < 0:
        raise BackendError(
            f"the body returns {len(specs['body'])} values, fewer than 1 + {len(carried)} carried"
        )
    scans: list[list[Any]] = [[] for _ in range(n_scans)]
    iteration = held = 0
    while go and (limit is None or iteration < limit):
        check_trips(iteration, held)
        again, *results = call("body", np.asarray(iteration, np.int64), np.asarray(go), *carried)
        go = bool(again.reshape(()))
        carried = results[: len(carried)]
        for kept, value in zip(scans, results[len(carried) :], strict=True):
            kept.append(value)
            held += getattr(value, "nbytes", 0)
        iteration += 1
    declared = specs["body"][1 + len(carried) :]
    return [*carried, *(_stack(s, 0, d) for s, d in zip(scans, declared, strict=True))]


def _flags(value: Any, count: int, what: str) -> list[int]:
    flags = [int(v) for v in value] if value is not None else [0] * count
    if len(flags) != count:
        raise BackendError(f"{what} has {len(flags)} entries for {count} values")
    return flags


def _scan(call: Call, specs: Specs, operands: Sequence[Any], attributes: Mapping[str, Any]) -> list[Any]:
    n = int(attributes["num_scan_inputs"])
    if not 0 < n <= len(operands):
        raise BackendError(f"num_scan_inputs is {n}, but there are {len(operands)} inputs")
    states, sequences = list(operands[:-n]), list(operands[-n:])
    n_outputs = len(specs["body"]) - len(states)
    axes = _flags(attributes["scan_input_axes"], n, "scan_input_axes")
    backward = _flags(attributes["scan_input_directions"], n, "scan_input_directions")
    out_axes = _flags(attributes["scan_output_axes"], n_outputs, "scan_output_axes")
    prepend = _flags(attributes["scan_output_directions"], n_outputs, "scan_output_directions")
    moved = [
        np.moveaxis(s, a, 0)[:: -1 if b else 1] for s, a, b in zip(sequences, axes, backward, strict=True)
    ]
    lengths = {len(m) for m in moved}
    if len(lengths) != 1:
        raise BackendError(f"scan inputs have different lengths {sorted(lengths)}")
    scans: list[list[Any]] = [[] for _ in range(n_outputs)]
    for step in range(lengths.pop()):
        results = call("body", *states, *(m[step] for m in moved))
        for kept, value in zip(scans, results[len(states) :], strict=True):
            kept.append(value)
        states = results[: len(states)]
    made = []
    for kept, axis, back, spec in zip(scans, out_axes, prepend, specs["body"][len(states) :], strict=True):
        made.append(_stack(kept[::-1] if back else kept, axis, spec))
    return [*states, *made]


def _sequence_map(
    call: Call, specs: Specs, operands: Sequence[Any], _attributes: Mapping[str, Any]
) -> list[Any]:
    first = operands[0]
    made: list[list[Any]] = [[] for _ in specs["body"]]
    for index, value in enumerate(first):
        others = []
        for operand in operands[1:]:
            if isinstance(operand, list):
                if len(operand) != len(first):
                    raise BackendError(f"sequences have different lengths {len(first)} and {len(operand)}")
                others.append(operand[index])
            else:
                others.append(operand)
        for kept, result in zip(made, call("body", value, *others), strict=True):
            kept.append(result)
    return list(made)


CONTROL: dict[str, Callable[[Call, Specs, Sequence[Any], Mapping[str, Any]], list[Any]]] = {
    "If": _if,
    "Loop": _loop,
    "Scan": _scan,
    "SequenceMap": _sequence_map,
}
