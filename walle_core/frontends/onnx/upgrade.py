"""Brings a node from the operator set its file uses to the newest one's inputs, attributes and meaning.

Source of every row: the operator changelog of ONNX (docs/Changelog.md). `RULES` has, per operator, the version at which
something changed and what to do with a node from before; an operator that is not listed only gained types or optional
parts whose default is the old behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping

from walle_core.frontends.onnx.draft import (
    Draft,
    Rule,
    become,
    default,
    drop,
    integral,
    rename,
    to_input,
    values,
)
from walle_core.frontends.onnx.scope import Scope
from walle_core.graph.ir import Graph, Node

NEWEST = 28  # of the operator sets of ai.onnx that the rules below know
ALWAYS = 1 << 20  # a rule for nodes of every version


def _legacy_broadcast(d: Draft) -> None:
    """Before 7 the second operand was aligned at `axis` and only with `broadcast` set."""
    axis = d.attributes.pop("axis", None)
    d.attributes.pop("broadcast", None)
    if axis is None:
        return
    a, b = d.scope.rank(d.input(0)), d.scope.rank(d.input(1))
    if a is None or b is None:
        raise d.error(
            "broadcasting along `axis` needs known ranks; export the model with operator set 7 or newer"
        )
    trailing = a - (axis % a if a else 0) - b
    if trailing > 0:
        axes = d.const(list(range(b, b + trailing)))
        d.set_input(1, d.emit("Unsqueeze", [d.input(1), axes]))


def _prelu(d: Draft) -> None:
    """Before 7 a one-dimensional slope belonged to the channels."""
    rank, slope = d.scope.rank(d.input(0)), d.scope.rank(d.input(1))
    if rank is None or slope is None:
        raise d.error(
            "the slope's alignment needs known ranks; export the model with operator set 7 or newer"
        )
    if slope == 1 and rank > 2:
        axes = d.const(list(range(1, rank - 1)))
        d.set_input(1, d.emit("Unsqueeze", [d.input(1), axes]))


def _bounds(d: Draft) -> None:
    """Clip's limits; the old defaults were the largest floats, which limit nothing but infinities."""
    for position, name in enumerate(("min", "max"), start=1):
        if name in d.attributes:
            d.set_input(position, d.like(d.attributes.pop(name), d.input(0)))


def _flat_softmax(d: Draft) -> None:
    """Before 13 all dimensions from `axis` on were one."""
    axis, rank = d.attributes.get("axis", 1), d.scope.rank(d.input(0))
    d.attributes["axis"] = -1
    if axis == -1 or axis + 1 == rank:
        return
    shape = d.emit("Shape", [d.input(0)])
    flat = d.emit("Flatten", [d.input(0)], axis=axis)
    made = d.emit(d.op, [flat], axis=-1)
    d.emit("Reshape", [made, shape], out=d.outputs[0])
    d.removed = True


def _batch_norm_per_element(d: Draft) -> None:
    """spatial=0 had statistics per element of a sample, not per channel."""
    if d.attributes.pop("spatial", 1):
        return
    x, scale, bias, mean, var = (d.input(i) for i in range(5))
    epsilon = d.like(d.attributes.pop("epsilon", 1e-5), x)
    deviation = d.emit("Sqrt", [d.emit("Add", [var, epsilon])])
    normal = d.emit("Div", [d.emit("Sub", [x, mean]), deviation])
    d.emit("Add", [d.emit("Mul", [normal, scale]), bias], out=d.outputs[0])
    d.removed = True


def _batch_norm_outputs(d: Draft) -> None:
    """Further outputs held training statistics; a file that only lists them is an inference model."""
    d.outputs = d.outputs[:1]


def _dropout(d: Draft) -> None:
    d.set_input(1, d.const(d.attributes.pop("ratio", 0.5), "float32"))


def _pad(d: Draft) -> None:
    d.set_input(1, d.const(list(d.attributes.pop("pads", ()))))
    value = d.attributes.pop("value", 0.0)
    if value:
        d.set_input(2, d.like(value, d.input(0)))


def _slice(d: Draft) -> None:
    starts, ends = d.attributes.pop("starts", ()), d.attributes.pop("ends", ())
    axes = d.attributes.pop("axes", None)
    d.inputs = [d.input(0), d.const(list(starts)), d.const(list(ends))]
    if axes is not None:
        d.inputs.append(d.const(list(axes)))


def _split_counts(d: Draft) -> None:
    if not d.input(1):
        d.attributes["num_outputs"] = len(d.outputs)


def _upsample_pair(d: Draft) -> None:
    d.attributes["scales"] = (
        1.0,
        1.0,
        d.attributes.pop("height_scale", 1.0),
        d.attributes.pop("width_scale", 1.0),
    )


def _upsample_scales(d: Draft) -> None:
    if "scales" in d.attributes:
        d.set_input(1, d.const(list(d.attributes.pop("scales")), "float32"))


def _asymmetric(d: Draft) -> None:
    """Upsample, and Resize before 11: (X, scales), coordinates scaled without an offset."""
    scales = d.scope.constant(d.input(1))
    shrinks = d.op == "Resize" and scales is not None and all(v <= 1 for v in scales.reshape(-1).tolist())
    d.op = "Resize"
    d.attributes["mode"] = {"bilinear": "linear", "trilinear": "linear"}.get(
        *[d.attributes.get("mode", "nearest")] * 2
    )
    d.attributes |= {
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "ceil" if shrinks else "floor",
    }
    d.inputs = [d.input(0), "", d.input(1)]


def _absent_if_empty(d: Draft) -> None:
    """Resize's roi, scales and sizes could be given as empty tensors to mean absent."""
    for position in range(1, len(d.inputs)):
        value = d.scope.constant(d.inputs[position]) if d.inputs[position] else None
        if value is not None and 0 in value.shape:
            d.inputs[position] = ""
    while d.inputs and not d.inputs[-1]:
        d.inputs.pop()


def _tile(d: Draft) -> None:
    rank = d.scope.rank(d.input(0))
    tiles, axis = (d.scope.constant(d.input(i)) for i in (1, 2))
    if rank is None or tiles is None or axis is None:
        raise d.error("tiles and axis must be constant; export the model with operator set 6 or newer")
    repeats = [1] * rank
    repeats[int(axis.reshape(-1).tolist()[0]) % rank] = int(tiles.reshape(-1).tolist()[0])
    d.inputs = [d.input(0), d.const(repeats)]


_TYPE_NAMES = [
    "undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "double",
    "uint32", "uint64", "complex64", "complex128",
]  # fmt: skip


def _cast_name(d: Draft) -> None:
    to = d.attributes.get("to")
    if isinstance(to, str):
        if to.lower() not in _TYPE_NAMES:
            raise d.error(f"`to` names no type: {to!r}")
        d.attributes["to"] = _TYPE_NAMES.index(to.lower())


def _group_norm(d: Draft) -> None:
    """Before 21 scale and bias had one value per group; now one per channel."""
    groups = d.attributes.get("num_groups", 1)
    channels = d.emit("Shape", [d.input(0)], start=1, end=2)
    each = d.emit("Div", [channels, d.const([groups])])
    target = d.emit("Concat", [d.const([groups]), each], axis=0)
    for position in (1, 2):
        column = d.emit("Unsqueeze", [d.input(position), d.const([1])])
        d.inputs[position] = d.emit("Reshape", [d.emit("Expand", [column, target]), d.const([-1])])


def _dft_axis(d: Draft) -> None:
    d.set_input(2, d.const(d.attributes.pop("axis", 1)))


def _scan_batches(d: Draft) -> None:
    """Scan of version 8 had a batch dimension in front: a scan over batches of the scan of today."""
    if d.inputs and d.inputs[0]:
        raise d.error("sequence_lens is not taken; export the model with operator set 9 or newer")
    operands = d.inputs[1:]
    scans = d.attributes.get("num_scan_inputs", 0)
    directions = d.attributes.pop("directions", ())
    attributes = {"body": d.attributes["body"], "num_scan_inputs": scans}
    if directions:
        attributes["scan_input_directions"] = directions
    inner_in = tuple(f"{d.name}/in{i}" for i in range(len(operands)))
    inner_out = tuple(f"{d.name}/out{i}" for i in range(len(d.outputs)))
    inner = Node("Scan", inner_in, inner_out, attributes, f"{d.name}/sequence")
    d.inputs = operands
    d.attributes = {
        "body": Graph(inner_in, inner_out, (inner,), name=d.name),
        "num_scan_inputs": len(operands),
    }


_REDUCE = ((18, to_input("axes", 1)),)
_SOFTMAX = ((13, _flat_softmax),)
_ARITHMETIC = ((7, _legacy_broadcast),)
_RECURRENT = ((7, drop("output_sequence")),)

RULES: Mapping[str, tuple[tuple[int, Rule], ...]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"), _ARITHMETIC),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _SOFTMAX),
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _RECURRENT),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
         "ReduceSumSquare"), _REDUCE),
    "ReduceSum": ((13, to_input("axes", 1)),),
    "BatchNormalization": (
        (7, drop("is_test")), (9, _batch_norm_per_element), (14, _batch_norm_outputs),
    ),
    "Cast": ((6, _cast_name),),
    "Clip": ((11, _bounds),),
    "Concat": ((4, default(axis=1)),),
    "DFT": ((20, _dft_axis),),
    "Dropout": ((7, drop("is_test")), (12, _dropout)),
    "Gemm": ((7, drop("broadcast")),),
    "GlobalLpPool": ((2, integral("p")),),
    "GridSample": ((20, values("mode", bilinear="linear", bicubic="cubic")),),
    "GroupNormalization": ((21, _group_norm),),
    "LpPool": ((2, integral("p")),),
    "PRelu": ((7, _prelu),),
    "Pad": ((2, rename(paddings="pads")), (11, _pad)),
    "Reshape": ((5, to_input("shape", 1)),),
    "Resize": ((11, _asymmetric), (ALWAYS, _absent_if_empty)),
    "RoiAlign": ((16, default(coordinate_transformation_mode="output_half_pixel")),),
    "Scan": ((9, _scan_batches),),
    "Scatter": ((ALWAYS, become("ScatterElements")),),
    "Selu": ((6, default(alpha=1.6732, gamma=1.0507)),),
    "Slice": ((10, _slice),),
    "Split": ((2, default(axis=0)), (13, to_input("split", 1)), (18, _split_counts)),
    "Squeeze": ((13, to_input("axes", 1)),),
    "Tile": ((6, _tile),),
    "TopK": ((10, lambda d: d.set_input(1, d.const([d.attributes.pop("k", 1)]))),),
    "Unsqueeze": ((13, to_input("axes", 1)),),
    "Upsample": ((7, _upsample_pair), (9, _upsample_scales), (ALWAYS, _asymmetric)),
}  # fmt: skip


def upgrade(node: Node, version: int, scope: Scope) -> list[Node]:
    """The node (of ai.onnx, operator set `version`) in the newest form: one node, or a few that together do the same.

    New constants go into `scope`. Raises UnsupportedError where the old meaning needs facts that the file lacks.
    """
    rows = RULES.get(node.op)
    if version < 6 and "consumed_inputs" in node.attrs:
        node = node.evolve(attrs={k: v for k, v in node.attrs.items() if k != "consumed_inputs"})
    if rows is None or version >= rows[-1][0]:
        return [node]
    draft = Draft(node.op, list(node.inputs), list(node.outputs), dict(node.attrs), node.name, scope)
    for until, rule in rows:
        if version < until and not draft.removed:
            rule(draft)
    while draft.inputs and not draft.inputs[-1]:
        draft.inputs.pop()
    made = (
        []
        if draft.removed
        else [Node(draft.op, tuple(draft.inputs), tuple(draft.outputs), draft.attributes, node.name)]
    )
    return [*draft.before, *made]
