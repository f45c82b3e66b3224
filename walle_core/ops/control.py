"""Control flow: operators whose attributes are graphs. A runtime executes them; references do not exist."""

from __future__ import annotations

from inspect import Parameter

from walle_core.ops.define import define

_REQUIRED = Parameter.empty

define(
    "If", "control", "control",
    params={"then_branch": _REQUIRED, "else_branch": _REQUIRED}, input_names=("cond",), required=1,
    doc="Runs one of two graphs; both read the enclosing scope and take no inputs.",
)  # fmt: skip
define(
    "Loop", "control", "control",
    params={"body": _REQUIRED}, input_names=("M", "cond", "*v_initial"), required=0,
    doc="Runs the body up to M times while its condition holds; carries values and stacks per-iteration results.",
)  # fmt: skip
define(
    "Scan", "control", "control",
    params={
        "body": _REQUIRED, "num_scan_inputs": _REQUIRED, "scan_input_axes": None, "scan_input_directions": None,
        "scan_output_axes": None, "scan_output_directions": None,
    },
    input_names=("*initial_state_and_scan_inputs",), required=0,
    doc="Runs the body over slices of its scan inputs; carries state and stacks per-step results.",
)  # fmt: skip
define(
    "SequenceMap", "control", "control",
    params={"body": _REQUIRED}, input_names=("input_sequence", "*additional_inputs"), required=1,
    doc="Runs the body on each element of a sequence and collects the results in sequences.",
)  # fmt: skip
