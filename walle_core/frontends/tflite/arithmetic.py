"""Rules of the operators that compute: per element, reductions, normalisations, conversions."""

from __future__ import annotations

from typing import Any

from walle_core.frontends.tflite.call import Call, activation, lowers
from walle_core.frontends.tflite.lowering import Refused

UNARY = {
    "ABS": "Abs", "NEG": "Neg", "EXP": "Exp", "LOG": "Log", "SQRT": "Sqrt", "SIN": "Sin", "COS": "Cos", "FLOOR": "Floor",
    "CEIL": "Ceil", "ROUND": "Round", "LOGISTIC": "Sigmoid", "TANH": "Tanh", "RELU": "Relu", "ELU": "Elu",
    "HARD_SWISH": "HardSwish", "SIGN": "Sign", "LOGICAL_NOT": "Not",
}  # fmt: skip
BINARY = {
    "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "MAXIMUM": "Max", "MINIMUM": "Min", "POW": "Pow",
    "EQUAL": "Equal", "LESS": "Less", "LESS_EQUAL": "LessOrEqual", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual",
    "LOGICAL_AND": "And", "LOGICAL_OR": "Or",
}  # fmt: skip
ACTIVATED = ("ADD", "SUB", "MUL", "DIV")
REDUCTIONS = {
    "MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_PROD": "ReduceProd", "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin", "REDUCE_ANY": "ReduceMax", "REDUCE_ALL": "ReduceMin",
}  # fmt: skip


@lowers(*UNARY)
def _unary(c: Call) -> None:
    c.result(c.op(UNARY[c.operator.name], c.value(0)))


@lowers("RELU6", "RELU_N1_TO_1")
def _clipped(c: Call) -> None:
    c.result(activation(c, c.value(0), c.operator.name))


@lowers("RELU_0_TO_1")
def _unit(c: Call) -> None:
    c.result(c.op("Clip", c.value(0), c.number(0.0), c.number(1.0)))


@lowers("LEAKY_RELU")
def _leaky(c: Call) -> None:
    c.result(c.op("LeakyRelu", c.value(0), alpha=float(c.option("alpha"))))


@lowers("PRELU")
def _prelu(c: Call) -> None:
    c.result(c.op("PRelu", c.value(0), c.value(1)))


@lowers("GELU")
def _gelu(c: Call) -> None:
    c.result(c.op("Gelu", c.value(0), approximate="tanh" if c.option("approximate") else "none"))


@lowers("RSQRT")
def _rsqrt(c: Call) -> None:
    c.result(c.op("Reciprocal", c.op("Sqrt", c.value(0))))


@lowers("SQUARE")
def _square(c: Call) -> None:
    c.result(c.op("Mul", c.value(0), c.value(0)))


@lowers("SQUARED_DIFFERENCE")
def _squared_difference(c: Call) -> None:
    difference = c.op("Sub", c.value(0), c.value(1))
    c.result(c.op("Mul", difference, difference))


@lowers(*BINARY)
def _binary(c: Call) -> None:
    value = c.op(BINARY[c.operator.name], c.value(0), c.value(1))
    c.result(c.activated(value) if c.operator.name in ACTIVATED else value)


@lowers("NOT_EQUAL")
def _not_equal(c: Call) -> None:
    c.result(c.op("Not", c.op("Equal", c.value(0), c.value(1))))


@lowers("ADD_N")
def _add_n(c: Call) -> None:
    c.result(c.op("Sum", *c.values()))


def _floor_mod(c: Call) -> Any:
    if c.kind(0).kind != "f":
        return c.op("Mod", c.value(0), c.value(1))
    quotient = c.op("Floor", c.op("Div", c.value(0), c.value(1)))
    return c.op("Sub", c.value(0), c.op("Mul", quotient, c.value(1)))


@lowers("FLOOR_MOD")
def _mod(c: Call) -> None:
    c.result(_floor_mod(c))


@lowers("FLOOR_DIV")
def _floor_div(c: Call) -> None:
    if c.kind(0).kind == "f":
        c.result(c.op("Floor", c.op("Div", c.value(0), c.value(1))))
    else:  # what is left after the remainder divides without one
        c.result(c.op("Div", c.op("Sub", c.value(0), _floor_mod(c)), c.value(1)))


@lowers("SELECT", "SELECT_V2")
def _select(c: Call) -> None:
    if c.operator.name == "SELECT" and c.rank(0) not in (0, c.rank(1)):
        raise Refused("its condition chooses whole rows")
    c.result(c.op("Where", c.stored(0), c.value(1), c.value(2)))


@lowers(*REDUCTIONS)
def _reduce(c: Call) -> None:
    axes = c.integers(1)
    op, keep, value = REDUCTIONS[c.operator.name], int(c.option("keep_dims")), c.value(0)
    logical = c.kind(0).name == "bool"
    if logical:
        value = c.cast(value, "int32")
    made = c.op(op, value, c.ints(*axes), keepdims=keep) if axes else value
    c.result(c.cast(made, "bool") if logical else made)


@lowers("ARG_MAX", "ARG_MIN")
def _arg(c: Call) -> None:
    (axis,) = c.integers(1)
    op = "ArgMax" if c.operator.name == "ARG_MAX" else "ArgMin"
    c.result(c.cast(c.op(op, c.value(0), axis=axis, keepdims=0), c.target().spec.dtype))


@lowers("SOFTMAX")
def _softmax(c: Call) -> None:
    beta, value = float(c.option("beta")), c.value(0)
    if beta != 1.0:
        value = c.op("Mul", value, c.number(beta))
    c.result(c.op("Softmax", value, axis=-1))


@lowers("LOG_SOFTMAX")
def _log_softmax(c: Call) -> None:
    c.result(c.op("LogSoftmax", c.value(0), axis=-1))


@lowers("L2_NORMALIZATION")
def _l2(c: Call) -> None:
    squares = c.op("Mul", c.value(0), c.value(0))
    norm = c.op("Sqrt", c.op("ReduceSum", squares, c.ints(-1), keepdims=1))
    c.result(c.activated(c.op("Div", c.value(0), c.op("Max", norm, c.number(1e-6)))))


@lowers("LOCAL_RESPONSE_NORMALIZATION")
def _lrn(c: Call) -> None:
    size = 2 * c.option("radius") + 1
    value = c.op("Transpose", c.value(0), perm=(0, 3, 1, 2))
    made = c.op(
        "LRN", value, size=size, alpha=float(c.option("alpha")) * size, beta=float(c.option("beta")), bias=float(c.option("bias"))
    )  # fmt: skip
    c.result(c.op("Transpose", made, perm=(0, 2, 3, 1)))


@lowers("CUMSUM")
def _cumsum(c: Call) -> None:
    c.result(
        c.op(
            "CumSum",
            c.value(0),
            c.stored(1),
            exclusive=int(c.option("exclusive")),
            reverse=int(c.option("reverse")),
        )
    )


@lowers("CAST")
def _cast(c: Call) -> None:
    c.result(c.cast(c.value(0), c.target().spec.dtype))


@lowers("QUANTIZE")
def _quantize(c: Call) -> None:
    c.result(c.value(0))


@lowers("DEQUANTIZE")
def _dequantize(c: Call) -> None:
    value = c.value(0)
    c.result(value if c.kind(0).name == "float32" else c.cast(value, "float32"))


@lowers("TOPK_V2")
def _top(c: Call) -> None:
    values, indices = c.op(
        "TopK", c.value(0), c.ints(*c.integers(1)), outputs=2, axis=-1, largest=1, sorted=1
    )
    c.result(values, 0)
    c.result(c.cast(indices, c.target(1).spec.dtype), 1)
