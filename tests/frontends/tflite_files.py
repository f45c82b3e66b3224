"""Writes small TFLite files and runs them in LiteRT, which is the judge."""

import warnings
from typing import NamedTuple

import flatbuffers
import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
import ai_edge_litert.schema_py_generated as s
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import walle_core as walle

KINDS = {np.dtype(k): getattr(s.TensorType, v) for k, v in {
    "float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "uint8": "UINT8", "int64": "INT64", "bool": "BOOL",
    "int16": "INT16", "int8": "INT8",
}.items()}  # fmt: skip
OPTIONS = {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "TRANSPOSE_CONV": "TransposeConvOptions",
           "AVERAGE_POOL_2D": "Pool2DOptions", "MAX_POOL_2D": "Pool2DOptions", "FULLY_CONNECTED": "FullyConnectedOptions",
           "L2_NORMALIZATION": "L2NormOptions", "BATCH_MATMUL": "BatchMatMulOptions", "GELU": "GeluOptions",
           "LEAKY_RELU": "LeakyReluOptions", "RESIZE_BILINEAR": "ResizeBilinearOptions", "ONE_HOT": "OneHotOptions",
           "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions", "STRIDED_SLICE": "StridedSliceOptions",
           "MIRROR_PAD": "MirrorPadOptions", "LOCAL_RESPONSE_NORMALIZATION": "LocalResponseNormalizationOptions",
           "SPACE_TO_DEPTH": "SpaceToDepthOptions", "DEPTH_TO_SPACE": "DepthToSpaceOptions", "CUMSUM": "CumsumOptions",
           "ARG_MAX": "ArgMaxOptions", "ARG_MIN": "ArgMinOptions", "SPLIT_V": "SplitVOptions", "SQUEEZE": "SqueezeOptions",
           "SPACE_TO_BATCH_ND": "SpaceToBatchNDOptions", "ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions",
           "DIV": "DivOptions", "SOFTMAX": "SoftmaxOptions", "CONCATENATION": "ConcatenationOptions", "RESHAPE": "ReshapeOptions",
           "PACK": "PackOptions", "UNPACK": "UnpackOptions", "GATHER": "GatherOptions", "SPLIT": "SplitOptions",
           "SHAPE": "ShapeOptions", "CAST": "CastOptions"}  # fmt: skip
OPTIONS |= dict.fromkeys(
    ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL"), "ReducerOptions"
)


class T(NamedTuple):
    """A tensor: a constant if it has data, else a value."""

    shape: tuple
    dtype: str = "float32"
    data: object = None
    scale: object = None
    zero: object = 0
    axis: int = 0


def const(value, dtype="float32", scale=None, zero=0, axis=0):
    """A constant tensor."""
    data = np.asarray(value, dtype)
    return T(data.shape, dtype, data, scale, zero, axis)


def packed(tensors, operators, inputs, outputs, version=3):
    """Bytes of a model; `operators` are (name, inputs, outputs, options) with tensors' numbers."""
    model, graph = s.ModelT(), s.SubGraphT()
    model.version, model.subgraphs, model.description = version, [graph], "walle tests"
    model.buffers, model.operatorCodes, graph.tensors, graph.operators = [s.BufferT()], [], [], []
    graph.inputs, graph.outputs, graph.name = list(inputs), list(outputs), "main"
    for number, given in enumerate(tensors):
        tensor = s.TensorT()
        tensor.name, tensor.shape, tensor.type = f"t{number}", list(given.shape), KINDS[np.dtype(given.dtype)]
        tensor.buffer = 0
        if given.data is not None:
            buffer = s.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(given.data).tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        if given.scale is not None:
            q = tensor.quantization = s.QuantizationParametersT()
            scales = np.atleast_1d(np.asarray(given.scale, np.float32))
            q.scale, q.quantizedDimension = list(scales), given.axis
            q.zeroPoint = [int(v) for v in np.broadcast_to(given.zero, scales.shape)]
        graph.tensors.append(tensor)
    for name, ins, outs, options in operators:
        code = s.OperatorCodeT()
        if name.startswith("CUSTOM:"):
            code.customCode, name = name[7:], "CUSTOM"
        code.builtinCode = getattr(s.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = (
            min(code.builtinCode, 127),
            2 if name == "BROADCAST_TO" else 1,
        )
        op = s.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes), list(ins), list(outs)
        model.operatorCodes.append(code)
        if name in OPTIONS:
            kind = OPTIONS[name]
            op.builtinOptions = getattr(s, f"{kind}T")()
            op.builtinOptionsType = getattr(s.BuiltinOptions, kind)
            for key, value in options.items():
                assert hasattr(op.builtinOptions, key)
                setattr(op.builtinOptions, key, value)
        graph.operators.append(op)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def litert(data, inputs, plain=False):
    """LiteRT's outputs, by position; `plain` leaves its own kernels in charge instead of XNNPACK's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
        judge = Interpreter(model_content=data, experimental_op_resolver_type=kind)
    judge.allocate_tensors()
    for detail, value in zip(judge.get_input_details(), inputs, strict=True):
        judge.set_tensor(detail["index"], value)
    judge.invoke()
    return [judge.get_tensor(d["index"]) for d in judge.get_output_details()]


def ours(data, inputs, backend=None):
    """Walle's outputs, by position."""
    session = walle.Session(walle.load_bytes(data), backend=backend)
    return [np.asarray(v) for v in session.run(list(inputs)).values()]


def both(tensors, operators, inputs, outputs, feeds, backend=None, plain=False):
    """(ours, LiteRT's) outputs of a model."""
    data = packed(tensors, operators, inputs, outputs)
    return ours(data, feeds, backend), litert(data, feeds, plain)
