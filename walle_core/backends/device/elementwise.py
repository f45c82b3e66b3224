"""Elementwise operators of float32: a node or a run of joined ones as one launch of the kernel `chain`."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from walle_core.backends.device.emitter import Emitter, Rule
from walle_core.backends.device.movement import strided
from walle_core.backends.device.operations import BINARY
from walle_core.backends.device.source import operations
from walle_core.backends.table import elementwise
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.table.operand_modes import COLUMN, ROW, operand_mode
from walle_core.backends.table.strides import collapse
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

INPUTS, STAGES, STRIDED = 4, 8, 4  # of the kernel `chain`
STRIDED_INPUTS = 2  # only the first two inputs have strides


def bits(value: float) -> int:
    """The int32 with the bits of a float32; what is beyond its range becomes infinite."""
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        packed = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return int(struct.unpack("<i", packed)[0])


def real(argument: int) -> float:
    """The double with these bits: how the rules of tables give real arguments."""
    return float(struct.unpack("<d", struct.pack("<q", argument))[0])


def activation(attributes: Mapping[str, Any]) -> tuple[int, float, float]:
    """(number, parameter a, parameter b) of the fused activation named in a node's attributes; 0 for none."""
    name = attributes.get("activation", "")
    a, b = float(attributes.get("act_alpha", 0.0)), float(attributes.get("act_beta", 0.0))
    if name == "Swish" and a == 0.0:
        a = 1.0
    return (operations("elementwise")[name] if name else 0, a, b)


def _data(node: Node) -> list[str]:
    return [n for n in node.inputs if n][: 1 if node.op == "Clip" else None]


def _modes(node: Node, specs: Mapping[str, TensorSpec]) -> dict[str, tuple[int, int]] | None:
    """How the kernel reads each operand of one node; None where it cannot."""
    out = specs[node.outputs[0]].sizes
    found = {n: operand_mode(out, specs[n].sizes) or (STRIDED, 1) for n in _data(node)}
    if STRIDED in (mode for mode, _ in found.values()):
        sizes, strides = collapse(out, [specs[n].sizes for n in found])
        if len(found) > STRIDED_INPUTS or strided(sizes, strides) is None:
            return None
        return dict.fromkeys(found, (STRIDED, 1))
    return found if len(found) <= INPUTS else None


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """One candidate for an operator of float32 whose operands the kernel can read."""
    if specs[node.outputs[0]].dtype.name != "float32" or specs[_data(node)[0]].dtype.name != "float32":
        return []
    known = {**{n: specs[n] for n in node.inputs if n in specs}, node.outputs[0]: specs[node.outputs[0]]}
    if _modes(node, known) is None or len(_data(node)) > INPUTS:
        return []
    return elementwise.candidates(kernels, node, specs, constants)


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """A chain of one."""
    del choice
    names = [n for n in (*node.inputs, *node.outputs) if n]
    modes = _modes(node, {n: em.spec(n) for n in names})
    assert modes is not None
    emit_chain(em, [node], modes)


def emit_chain(em: Emitter, nodes: Sequence[Node], inputs: Mapping[str, tuple[int, int]]) -> None:
    """One launch that runs the nodes in order; `inputs` says how each outer operand is read (mode, inner)."""
    out, names = nodes[-1].outputs[0], list(inputs)
    n = em.spec(out).size
    constants: dict[str, int] = {"INPUTS": len(names)}
    register = {name: i for i, name in enumerate(names)}
    stage = 0
    for node in nodes:
        row = elementwise.row_of(node, "float32")
        assert row is not None
        arguments = elementwise.parameters(node, em.graph.constants, "float32") or []
        a, b = ([bits(real(v)) for v in arguments] + [0, 0])[:2] if row[1] not in BINARY else (0, 0)
        data = _data(node)
        left = register[data[0]]
        for right in data[1:] or data[:1]:  # a variadic operator takes a stage per further operand
            chosen = {
                "OP": operations("elementwise")[row[1]],
                "X": left,
                "Y": register[right],
                "A": a,
                "B": b,
            }
            constants.update({f"{key}{stage}": value for key, value in chosen.items()})
            left, stage = INPUTS + stage, stage + 1
        register[node.outputs[0]] = left
    constants["STAGES"] = stage
    constants.update({f"MODE{i}": inputs[name][0] for i, name in enumerate(names)})
    inner = [inputs[name][1] for name in names] + [1] * (INPUTS - len(names))
    strides = [1, 1, 1] + [0] * 8
    width = em.width(n, *(i for mode, i in inputs.values() if mode in (ROW, COLUMN)))
    if STRIDED in (mode for mode, _ in inputs.values()):
        found = strided(*collapse(em.spec(out).sizes, [em.spec(name).sizes for name in names]))
        assert found is not None
        strides, width = (found + [0] * 4)[:11], 1
    operands = [em.value(name) for name in (out, *names)] + [em.value("")] * (INPUTS - len(names))
    em.launch(
        "chain", operands, [n, *inner, *strides], (-(-n // width),), nodes[-1].name, {"W": width}, constants
    )


def stages(node: Node) -> int:
    """Stages of the kernel that a node takes."""
    return max(1, len(_data(node)) - 1)


def rules() -> list[Rule]:
    """The rule of the elementwise operators."""
    from walle_core.ops import catalogue

    ops = {*operations("elementwise"), "Sum"} & set(catalogue())
    return [Rule("elementwise", tuple(sorted(ops - {"Identity"})), candidates, emit)]
