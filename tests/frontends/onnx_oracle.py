"""Graph -> ModelProto of a new operator set, so that ONNX Runtime judges what the frontend and the passes make."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from walle_core.frontends.onnx.schema import DATA_TYPES
from walle_core.graph.ir import Graph

TYPES = {name: number for number, name in DATA_TYPES.items()}
OPSET = 22


def attribute(value):
    if isinstance(value, Graph):
        return graph_proto(value)
    return (
        numpy_helper.from_array(np.asarray(value))
        if hasattr(value, "tobytes") and hasattr(value, "shape")
        else value
    )


def value_info(graph, name, typed):
    spec = graph.specs.get(name) if typed else None
    if spec is None:
        return onnx.ValueInfoProto(name=name)
    return helper.make_tensor_value_info(name, TYPES[spec.dtype.name], spec.shape)


def graph_proto(graph):
    nodes = [
        helper.make_node(
            n.op, n.inputs, n.outputs, name=n.name, **{k: attribute(v) for k, v in n.attrs.items()}
        )
        for n in graph.nodes
    ]
    inputs = [value_info(graph, i, typed=True) for i in graph.inputs]
    outputs = [value_info(graph, o, typed=False) for o in graph.outputs]
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in graph.constants.items()]
    return helper.make_graph(nodes, "g", inputs, outputs, constants)


def run_proto(model, feeds):
    """Outputs of a ModelProto by ONNX Runtime without its graph optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def run_graph(graph, feeds, opset=OPSET):
    """Outputs of a Graph by ONNX Runtime."""
    model = helper.make_model(
        graph_proto(graph), opset_imports=[helper.make_opsetid("", opset)], ir_version=10
    )
    return run_proto(model, feeds)
