"""Field numbers of ONNX's messages (onnx.proto of IR version 14); only what a graph is built from."""

from __future__ import annotations

from walle_core.frontends.onnx.wire import Schema

MODEL = Schema("ModelProto", {
    1: "int ir_version", 2: "str producer_name", 3: "str producer_version", 4: "str domain", 5: "int model_version",
    6: "str doc_string", 7: "view graph", 8: "view* opset_import", 14: "view* metadata_props", 25: "view* functions",
})  # fmt: skip
OPERATOR_SET = Schema("OperatorSetIdProto", {1: "str domain", 2: "int version"})
STRING_PAIR = Schema("StringStringEntryProto", {1: "str key", 2: "str value"})
GRAPH = Schema("GraphProto", {
    1: "view* node", 2: "str name", 5: "view* initializer", 15: "view* sparse_initializer", 11: "view* input",
    12: "view* output", 13: "view* value_info",
})  # fmt: skip
NODE = Schema("NodeProto", {
    1: "str* input", 2: "str* output", 3: "str name", 4: "str op_type", 5: "view* attribute", 7: "str domain",
    8: "str overload",
})  # fmt: skip
FUNCTION = Schema("FunctionProto", {
    1: "str name", 4: "str* input", 5: "str* output", 6: "str* attribute", 7: "view* node", 9: "view* opset_import",
    10: "str domain", 11: "view* attribute_proto", 13: "str overload",
})  # fmt: skip
ATTRIBUTE = Schema("AttributeProto", {
    1: "str name", 21: "str ref_attr_name", 20: "int type", 2: "float f", 3: "int i", 4: "view s", 5: "view t",
    6: "view g", 7: "float* floats", 8: "int* ints", 9: "view* strings", 10: "view* tensors", 11: "view* graphs",
    14: "view tp", 15: "view* type_protos", 22: "view sparse_tensor", 23: "view* sparse_tensors",
})  # fmt: skip
TENSOR = Schema("TensorProto", {
    1: "int* dims", 2: "int data_type", 3: "view segment", 4: "rawfloat* float_data", 5: "rawint* int32_data",
    6: "view* string_data", 7: "rawint* int64_data", 8: "str name", 9: "view raw_data", 10: "rawdouble* double_data",
    11: "rawint* uint64_data", 13: "view* external_data", 14: "int data_location",
})  # fmt: skip
SPARSE_TENSOR = Schema("SparseTensorProto", {1: "view values", 2: "view indices", 3: "int* dims"})
VALUE_INFO = Schema("ValueInfoProto", {1: "str name", 2: "view type"})
TYPE = Schema("TypeProto", {
    1: "view tensor_type", 4: "view sequence_type", 5: "view map_type", 7: "view opaque_type",
    8: "view sparse_tensor_type", 9: "view optional_type",
})  # fmt: skip
TENSOR_TYPE = Schema("TypeProto.Tensor", {1: "int elem_type", 2: "view shape"})
WRAPPED_TYPE = Schema("TypeProto.Sequence", {1: "view elem_type"})  # Optional has the same field
MAP_TYPE = Schema("TypeProto.Map", {1: "int key_type", 2: "view value_type"})
SHAPE = Schema("TensorShapeProto", {1: "view* dim"})
DIMENSION = Schema("TensorShapeProto.Dimension", {1: "int dim_value", 2: "str dim_param"})

# AttributeProto.AttributeType -> the field that holds the value
ATTRIBUTE_FIELDS = {
    1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings", 9: "tensors", 10: "graphs",
    11: "sparse_tensor", 12: "sparse_tensors", 13: "tp", 14: "type_protos",
}  # fmt: skip

# TensorProto.DataType -> dtype name
DATA_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip
