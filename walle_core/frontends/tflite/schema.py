"""What the TFLite schema (version 3) says: slots of fields, numbers of operators and types. Facts of the format, no code.

tests/frontends/test_tflite_schema.py compares this page with the `tflite` package.
"""

from __future__ import annotations

Options = dict[str, tuple[int, str, int | float | bool]]

IDENTIFIER = b"TFL3"
VERSION = 3

MODEL = {"version": 0, "operator_codes": 1, "subgraphs": 2, "description": 3, "buffers": 4}
OPERATOR_CODE = {"deprecated_builtin_code": 0, "custom_code": 1, "version": 2, "builtin_code": 3}
SUBGRAPH = {"tensors": 0, "inputs": 1, "outputs": 2, "operators": 3, "name": 4}
TENSOR = {
    "shape": 0,
    "type": 1,
    "buffer": 2,
    "name": 3,
    "quantization": 4,
    "is_variable": 5,
    "sparsity": 6,
    "shape_signature": 7,
}
QUANTIZATION = {"scale": 2, "zero_point": 3, "details_type": 4, "quantized_dimension": 6}
OPERATOR = {"opcode_index": 0, "inputs": 1, "outputs": 2, "builtin_options": 4}
BUFFER = {"data": 0, "offset": 1, "size": 2}

TYPES = ("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
         "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16")  # fmt: skip
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

# operator -> option -> (slot, type of the number, default); "[i]" is a vector
_CONV: Options = {"padding": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0)}
_ACTIVATION: Options = {"fused_activation_function": (0, "b", 0)}
_AXIS: Options = {"axis": (0, "i", 0)}
_KEEP: Options = {"keep_dims": (0, "?", False)}
_BLOCK: Options = {"block_size": (0, "i", 0)}
_POOL: Options = {
    **_CONV,
    "filter_width": (3, "i", 0),
    "filter_height": (4, "i", 0),
    "fused_activation_function": (5, "b", 0),
}
OPTIONS: dict[str, Options] = {
    "CONV_2D": {**_CONV, "fused_activation_function": (3, "b", 0), "dilation_w_factor": (4, "i", 1), "dilation_h_factor": (5, "i", 1)},
    "DEPTHWISE_CONV_2D": {**_CONV, "fused_activation_function": (4, "b", 0), "dilation_w_factor": (5, "i", 1), "dilation_h_factor": (6, "i", 1)},
    "TRANSPOSE_CONV": {**_CONV, "fused_activation_function": (3, "b", 0)},
    "AVERAGE_POOL_2D": _POOL, "MAX_POOL_2D": _POOL,
    "FULLY_CONNECTED": {**_ACTIVATION, "weights_format": (1, "b", 0), "keep_num_dims": (2, "?", False)},
    "ADD": _ACTIVATION, "SUB": _ACTIVATION, "MUL": _ACTIVATION, "DIV": _ACTIVATION, "L2_NORMALIZATION": _ACTIVATION,
    "CONCATENATION": {**_AXIS, "fused_activation_function": (1, "b", 0)},
    "SOFTMAX": {"beta": (0, "f", 0.0)}, "LEAKY_RELU": {"alpha": (0, "f", 0.0)}, "GELU": {"approximate": (0, "?", False)},
    "RESHAPE": {"new_shape": (0, "[i]", 0)}, "SQUEEZE": {"squeeze_dims": (0, "[i]", 0)},
    "RESIZE_BILINEAR": {"align_corners": (2, "?", False), "half_pixel_centers": (3, "?", False)},
    "RESIZE_NEAREST_NEIGHBOR": {"align_corners": (0, "?", False), "half_pixel_centers": (1, "?", False)},
    "MEAN": _KEEP, "SUM": _KEEP, "REDUCE_PROD": _KEEP, "REDUCE_MAX": _KEEP, "REDUCE_MIN": _KEEP, "REDUCE_ANY": _KEEP, "REDUCE_ALL": _KEEP,
    "PACK": {"axis": (1, "i", 0)}, "UNPACK": {"num": (0, "i", 0), "axis": (1, "i", 0)},
    "GATHER": {**_AXIS, "batch_dims": (1, "i", 0)}, "ONE_HOT": _AXIS,
    "STRIDED_SLICE": {"begin_mask": (0, "i", 0), "end_mask": (1, "i", 0), "ellipsis_mask": (2, "i", 0), "new_axis_mask": (3, "i", 0), "shrink_axis_mask": (4, "i", 0), "offset": (5, "?", False)},
    "SPACE_TO_DEPTH": _BLOCK, "DEPTH_TO_SPACE": _BLOCK, "MIRROR_PAD": {"mode": (0, "b", 0)},
    "BATCH_MATMUL": {"adj_x": (0, "?", False), "adj_y": (1, "?", False)},
    "CUMSUM": {"exclusive": (0, "?", False), "reverse": (1, "?", False)},
    "LOCAL_RESPONSE_NORMALIZATION": {"radius": (0, "i", 0), "bias": (1, "f", 0.0), "alpha": (2, "f", 0.0), "beta": (3, "f", 0.0)},
}  # fmt: skip

OPERATORS = tuple(
    """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC
LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH
SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE
TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK
LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL
FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL
REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND
HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU
DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE
STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE
STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG
STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT
STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT
STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL
STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE
STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT
""".split()
)
