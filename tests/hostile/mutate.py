"""Structural damage to an ONNX model: what the file says stays well-formed, what it means does not."""

import random

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

INTEGERS = (
    -(2**63),
    -(2**31),
    -100,
    -7,
    -3,
    -2,
    -1,
    0,
    0,
    1,
    1,
    2,
    3,
    4,
    5,
    7,
    100,
    1000,
    2**31 - 1,
    2**31,
    2**62,
    2**63 - 1,
)
FLOATS = (
    float("nan"),
    float("inf"),
    -float("inf"),
    0.0,
    -1.0,
    -0.5,
    0.5,
    1.0,
    1e-30,
    3.4e38,
    1e9,
    -1e9,
    1e300,
)
STRINGS = (b"", b"NOTSET", b"VALID", b"SAME_UPPER", b"linear", b"nearest", b"cubic", b"reflect", b"edge", b"wrap",
           b"constant", b"\xff\xfe", b"...->", b"ij,jk->ik", b"iii->", b"reverse", b"bidirectional", b"Tanh", b"x" * 3000)  # fmt: skip
DTYPES = (1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 16, 22)
SIZES = (-1, 0, 0, 1, 1, 2, 3, 4, 5, 7, 8, 16, 33, 1000, 2**31, 2**40, 2**62)


def graphs(graph: GraphProto) -> list[GraphProto]:
    """The graph and all graphs inside it."""
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (
                *([attribute.g] if attribute.type == AttributeProto.GRAPH else ()),
                *attribute.graphs,
            ):
                found += graphs(inner)
    return found


def _integers(rng, values):
    values = list(values)
    for _ in range(rng.choice((1, 1, 2))):
        kind = rng.random()
        if kind < 0.6 and values:
            values[rng.randrange(len(values))] = rng.choice(INTEGERS)
        elif kind < 0.7 and values:
            del values[rng.randrange(len(values))]
        elif kind < 0.8:
            values.insert(rng.randint(0, len(values)), rng.choice(INTEGERS))
        elif kind < 0.9:
            values = [rng.choice(INTEGERS)] * max(1, len(values))
        else:
            rng.shuffle(values)
    return values


def array(rng: random.Random, value: np.ndarray) -> np.ndarray:
    """The array with other contents, size, shape or dtype."""
    if value.dtype.kind not in "iufb":
        return value
    kind, flat = rng.random(), value.reshape(-1).copy()
    if kind < 0.65 and flat.size:
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(flat.size)
            if value.dtype.kind == "f":
                with np.errstate(all="ignore"):
                    flat[at] = np.float64(rng.choice(FLOATS)).astype(value.dtype)
            else:
                flat[at] = np.array(rng.choice(INTEGERS) % 2**64, np.uint64).astype(value.dtype)
        return flat.reshape(value.shape)
    if kind < 0.75:
        shape = list(value.shape)
        if shape:
            shape[rng.randrange(len(shape))] = rng.choice((0, 1, 2, 3, 5))
        return np.resize(flat, shape) if flat.size else np.zeros(shape, value.dtype)
    if kind < 0.82:
        return flat.reshape(value.shape)[None] if rng.random() < 0.5 else flat
    if kind < 0.9:
        return flat[: rng.randint(0, flat.size)]
    other = rng.choice(("float32", "float64", "int32", "int64", "uint8", "int8", "bool", "float16"))
    with np.errstate(all="ignore"):
        return value.astype(other)


def decoded(tensor: TensorProto) -> np.ndarray:
    """The array of a tensor; an empty one where it cannot be read."""
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError):
        return np.zeros(0)


def attribute(rng, node: NodeProto):
    """Another value, length or type of one attribute; or an attribute more or less."""
    if not node.attribute:
        return
    target = rng.choice(node.attribute)
    kind = rng.random()
    if kind < 0.1:
        node.attribute.remove(target)
    elif kind < 0.17:
        name = target.name
        target.CopyFrom(helper.make_attribute(name, rng.choice((1, 1.5, b"text", [1, 2], [0.5], 2**40))))
    elif target.type == AttributeProto.INT:
        target.i = rng.choice(INTEGERS)
    elif target.type == AttributeProto.FLOAT:
        target.f = min(max(rng.choice(FLOATS), -3e38), 3e38) if rng.random() < 0.5 else float("nan")
    elif target.type == AttributeProto.STRING:
        target.s = rng.choice(STRINGS)
    elif target.type == AttributeProto.INTS:
        values = _integers(rng, target.ints)
        del target.ints[:]
        target.ints.extend(values)
    elif target.type == AttributeProto.FLOATS and target.floats:
        target.floats[rng.randrange(len(target.floats))] = rng.choice(FLOATS[:9])
    elif target.type == AttributeProto.STRINGS and target.strings:
        target.strings[rng.randrange(len(target.strings))] = rng.choice(STRINGS)
    elif target.type == AttributeProto.TENSOR:
        _tensor(rng, target.t)


def _tensor(rng, tensor: TensorProto):
    if (
        tensor.data_type in (1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13)
        and tensor.data_location == TensorProto.DEFAULT
    ):
        tensor.CopyFrom(numpy_helper.from_array(array(rng, numpy_helper.to_array(tensor)), tensor.name))


def operands(rng, node: NodeProto, names: list[str]):
    """Inputs dropped, swapped, doubled or taken from elsewhere; outputs dropped."""
    kind = rng.random()
    if kind < 0.2 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif kind < 0.4 and node.input:
        node.input[rng.randrange(len(node.input))] = ""
    elif kind < 0.7 and node.input and names:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind < 0.8 and names:
        node.input.append(rng.choice(names))
    elif kind < 0.9 and len(node.input) > 1:
        values = list(node.input)
        rng.shuffle(values)
        del node.input[:]
        node.input.extend(values)
    elif node.output:
        node.output[rng.randrange(len(node.output))] = ""


def declared(rng, info):
    """Another declared dtype, rank or size of a value."""
    kind = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        return
    what = rng.random()
    if what < 0.25:
        kind.elem_type = rng.choice(DTYPES)
    elif what < 0.35:
        kind.ClearField("shape")
    elif what < 0.5:
        kind.shape.dim.add(dim_value=rng.choice(SIZES))
    elif kind.shape.dim:
        at = rng.randrange(len(kind.shape.dim))
        if what < 0.6:
            del kind.shape.dim[at]
        elif what < 0.75:
            kind.shape.dim[at].dim_param = rng.choice(("n", "m", ""))
        else:
            kind.shape.dim[at].dim_value = rng.choice(SIZES)


def fixed(rng, model: ModelProto, feeds: dict):
    """Makes an input a constant, so that what was data when it ran is known when it loads."""
    infos = [
        i
        for i in model.graph.input
        if isinstance(feeds.get(i.name), np.ndarray) and feeds[i.name].dtype.kind in "iufb"
    ]
    if infos:
        info = rng.choice(infos)
        model.graph.initializer.append(numpy_helper.from_array(feeds.pop(info.name), info.name))
        model.graph.input.remove(info)


def freed(rng, model: ModelProto, feeds: dict):
    """Makes a constant an input, so that what was known at load comes when it runs."""
    found = [t for t in model.graph.initializer if t.data_type in DTYPES[:-3]]
    if found:
        tensor = rng.choice(found)
        feeds[tensor.name] = numpy_helper.to_array(tensor)
        if all(i.name != tensor.name for i in model.graph.input):
            model.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
        model.graph.initializer.remove(tensor)


def mutate(rng: random.Random, model: ModelProto, feeds: dict, operators: list[str]) -> None:
    """Applies one to four changes in place to a model and the arrays it is fed with."""
    if rng.random() < 0.4:
        fixed(rng, model, feeds)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        inside = rng.choice(graphs(model.graph))
        kind = rng.random()
        node = rng.choice(inside.node) if inside.node else None
        if kind < 0.3 and node is not None:
            attribute(rng, node)
        elif kind < 0.45 and inside.initializer:
            _tensor(rng, rng.choice(inside.initializer))
        elif kind < 0.6 and feeds:
            name = rng.choice(sorted(feeds))
            if isinstance(feeds[name], np.ndarray):
                feeds[name] = array(rng, feeds[name])
        elif kind < 0.7 and node is not None:
            names = [
                *feeds,
                *(t.name for t in inside.initializer),
                *(o for n in inside.node for o in n.output),
            ]
            operands(rng, node, names)
        elif kind < 0.78 and node is not None:
            node.op_type = rng.choice(operators)
        elif kind < 0.92 and (inside.input or inside.output):
            declared(rng, rng.choice([*inside.input, *inside.input, *inside.output, *inside.value_info]))
        elif kind < 0.96:
            fixed(rng, model, feeds)
        else:
            freed(rng, model, feeds)


def damage(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)
