"""Writes a graph as ONNX, without the onnx package, weights inside.

The file names the lowest operator set from `OPSET` on that has all of the graph's operators: since then, none that the
graph may hold changed its meaning (`upgrade.RULES` ends there), and other programs know lower sets better.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import ModelError, UnsupportedError
from walle_core.frontends.onnx.attributes import ATTRIBUTE_KINDS, LETTERS
from walle_core.frontends.onnx.schema import ATTRIBUTE_FIELDS, DATA_TYPES
from walle_core.frontends.walle_file import _write
from walle_core.graph.ir import Graph, Node, subgraphs
from walle_core.types import TensorSpec

OPSET, ML_OPSET = 21, 4
LATER = {
    "RotaryEmbedding": 23, "RMSNormalization": 23, "Attention": 23, "Swish": 24, "TensorScatter": 24, "CumProd": 26,
    "BitCast": 26, "LinearAttention": 27, "CausalConvWithState": 27, "SwiGLU": 28,
}  # fmt: skip
MAX_BYTES = (1 << 31) - 1  # of a protobuf message
PREFIX = "ai.onnx.ml."
NUMBERS = {name: number for number, name in DATA_TYPES.items()}
OPERATORS = frozenset(
    (
        "Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool "
        "BatchNormalization Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow "
        "Cast CastLike CausalConvWithState Ceil Celu CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence "
        "Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv "
        "DepthToSpace DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand "
        "EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool "
        "GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid "
        "HardSwish Hardmax Identity If ImageDecoder InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization "
        "LeakyRelu Less LessOrEqual LinearAttention Log LogSoftmax Loop LpNormalization LpPool MatMul "
        "MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix Min Mish "
        "Mod Mul Multinomial Neg NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not OneHot Optional "
        "OptionalGetElement OptionalHasElement Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear "
        "RMSNormalization RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal "
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
        "ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round STFT "
        "Scan Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase "
        "SequenceInsert SequenceLength SequenceMap Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax "
        "SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze StringConcat "
        "StringNormalizer StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer ThresholdedRelu "
        "Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor "
    ).split()
)
TYPE_OF = {letter: number for number, letter in LETTERS.items()}
FIELD_OF = {
    "f": 2, "i": 3, "s": 4, "t": 5, "g": 6, "floats": 7, "ints": 8, "strings": 9, "tensors": 10, "graphs": 11,
}  # fmt: skip


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes an ONNX file; an existing one is replaced only once the new one is complete.

    Raises UnsupportedError if a node is no operator of ONNX, ModelError if the model does not fit one file.
    """
    data = to_bytes(graph)
    _write(Path(path), [data])


def to_bytes(graph: Graph) -> bytes:
    """The ModelProto of a graph; see `save`."""
    kinds = [_domain(node) for node in _all_nodes(graph)]
    opset = max((LATER.get(name, OPSET) for domain, name in kinds if not domain), default=OPSET)
    body = _number(1, 10 if opset < 23 else 13) + _text(2, "walle")
    body += _message(8, _text(1, "") + _number(2, opset))
    if any(domain for domain, _ in kinds):
        body += _message(8, _text(1, PREFIX[:-1]) + _number(2, ML_OPSET))
    body += b"".join(_message(14, _text(1, k) + _text(2, v)) for k, v in graph.metadata.items())
    body += _message(7, _graph(graph))
    if len(body) > MAX_BYTES:
        raise ModelError(
            f"{graph.name}: {len(body)} bytes are more than an ONNX file holds; save it as .walle"
        )
    return body


def _all_nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for inner in subgraphs(node):
            yield from _all_nodes(inner)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, value: str | bytes) -> bytes:
    return _message(field, value.encode() if isinstance(value, str) else value)


def _domain(node: Node) -> tuple[str, str]:
    """(domain, operator) of a node."""
    domain, name = (PREFIX[:-1], node.op[len(PREFIX) :]) if node.op.startswith(PREFIX) else ("", node.op)
    if not domain and name not in OPERATORS:
        raise UnsupportedError(f"node {node} is no operator of ONNX; save the model as .walle")
    return domain, name


def _graph(graph: Graph) -> bytes:
    made = [_message(1, _node(node)) for node in graph.nodes]
    made.append(_text(2, graph.name or "graph"))
    made += [_message(5, _tensor(value, name)) for name, value in graph.constants.items()]
    for field, names in ((11, graph.inputs), (12, graph.outputs)):
        made += [_message(field, _text(1, name) + _type(graph.specs.get(name))) for name in names]
    return b"".join(made)


def _type(spec: TensorSpec | None) -> bytes:
    if spec is None:
        return b""
    tensor = _number(1, NUMBERS[spec.dtype.name])
    if spec.shape is not None:
        dims = (_number(1, d) if isinstance(d, int) else _text(2, d) for d in spec.shape)
        tensor += _message(2, b"".join(_message(1, d) for d in dims))
    return _message(2, _message(1, tensor))


def _node(node: Node) -> bytes:
    domain, name = _domain(node)
    made = [_text(1, n) for n in node.inputs] + [_text(2, n) for n in node.outputs]
    made += [_text(3, node.name), _text(4, name), *([_text(7, domain)] if domain else [])]
    made += [_message(5, _attribute(node, k, v)) for k, v in node.attrs.items() if v is not None]
    return b"".join(made)


def _letter(node: Node, name: str, value: Any) -> str:
    """The attribute's type letter: what ONNX prescribes where that fits the value, else what the value is."""
    several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    first = (value[0] if len(value) else None) if several else value
    kinds = ATTRIBUTE_KINDS.get(name, "")
    if isinstance(first, (bool, int)) and not isinstance(first, Tensor):
        found = "f" if "i" not in kinds.lower() and "f" in kinds.lower() else "i"
    elif isinstance(first, float):
        found = "f"
    elif isinstance(first, (str, bytes)):
        found = "s"
    elif isinstance(first, Tensor):
        found = "t"
    elif isinstance(first, Graph):
        found = "g"
    elif several and kinds:
        return next((k for k in kinds if k.isupper()), "I")
    else:
        raise UnsupportedError(f"node {node}: attribute {name!r} is {value!r}, which ONNX has no form for")
    return found.upper() if several else found


def _attribute(node: Node, name: str, value: Any) -> bytes:
    letter = _letter(node, name, value)
    number = TYPE_OF[letter]
    field = FIELD_OF[ATTRIBUTE_FIELDS[number]]
    values = value if letter.isupper() else [value]
    return b"".join(
        [_text(1, name), *(_value(field, letter.lower(), v) for v in values), _number(20, number)]
    )


def _value(field: int, letter: str, value: Any) -> bytes:
    if letter == "f":
        return _varint(field << 3 | 5) + struct.pack("<f", value)
    if letter == "i":
        return _number(field, int(value))
    if letter == "s":
        return _text(field, value)
    return _message(field, _tensor(value, "") if letter == "t" else _graph(value))


def _tensor(value: Any, name: str) -> bytes:
    shape = [int(n) for n in value.shape]
    made = b"".join(_number(1, n) for n in shape)
    if not isinstance(value, Tensor):
        flat = value.reshape(-1).tolist()
        made += _number(2, NUMBERS["string"]) + b"".join(_text(6, v) for v in flat)
        return made + _text(8, name)
    number = NUMBERS.get(value.dtype)
    if number is None or number >= NUMBERS["uint4"]:
        raise UnsupportedError(
            f"constant {name!r} is {value.dtype}, which is not written; save the model as .walle"
        )
    return made + _number(2, number) + _text(8, name) + _message(9, value.tobytes())
