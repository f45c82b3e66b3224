"""Which dtypes the elementwise functions take, and NumPy's functions that do the same."""

import numpy as np
from matrix_arrays import ALL, COMPLEX, FLOATS, INTEGERS, NUMERIC

ONE = {
    "abs": NUMERIC, "acos": FLOATS, "acosh": FLOATS, "asin": FLOATS, "asinh": FLOATS, "atan": FLOATS, "atanh": FLOATS,
    "ceil": INTEGERS + FLOATS, "conj": NUMERIC, "cos": FLOATS + COMPLEX, "cosh": FLOATS, "exp": FLOATS + COMPLEX,
    "expm1": FLOATS, "floor": INTEGERS + FLOATS, "imag": COMPLEX, "isfinite": NUMERIC, "isinf": NUMERIC,
    "isnan": NUMERIC, "log": FLOATS, "log1p": FLOATS, "log2": FLOATS, "log10": FLOATS, "logical_not": ["bool"],
    "negative": [d for d in NUMERIC if d[0] != "u"], "positive": NUMERIC, "real": COMPLEX, "reciprocal": FLOATS,
    "round": INTEGERS + FLOATS, "sign": INTEGERS + FLOATS, "signbit": FLOATS, "sin": FLOATS + COMPLEX, "sinh": FLOATS,
    "sqrt": FLOATS, "square": NUMERIC, "tan": FLOATS, "tanh": FLOATS, "trunc": INTEGERS + FLOATS,
    "bitwise_invert": ["bool", *INTEGERS],
}  # fmt: skip
TWO = {
    "add": NUMERIC, "subtract": NUMERIC, "multiply": NUMERIC, "divide": FLOATS, "floor_divide": INTEGERS + FLOATS,
    "remainder": INTEGERS + FLOATS, "pow": FLOATS, "maximum": INTEGERS + FLOATS, "minimum": INTEGERS + FLOATS,
    "atan2": FLOATS, "hypot": FLOATS, "logaddexp": FLOATS, "copysign": FLOATS, "nextafter": FLOATS,
    "bitwise_and": ["bool", *INTEGERS], "bitwise_or": ["bool", *INTEGERS], "bitwise_xor": ["bool", *INTEGERS],
    "equal": ALL, "not_equal": ALL, "less": INTEGERS + FLOATS, "less_equal": INTEGERS + FLOATS,
    "greater": INTEGERS + FLOATS, "greater_equal": INTEGERS + FLOATS, "logical_and": ["bool"], "logical_or": ["bool"],
    "logical_xor": ["bool"],
}  # fmt: skip
NUMPY_NAMES = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atanh": "arctanh",
    "bitwise_invert": "invert", "atan2": "arctan2", "round": "rint",
}  # fmt: skip


def power(x, y):
    """NumPy's on more than one exponent: for 0.5 alone it takes a square root, which is NaN for -inf."""
    x, y = (np.repeat(p[None], 2, 0) for p in np.broadcast_arrays(x, y))
    return np.power(x, y)[0]


def oracle(name):
    if name == "pow":
        return power
    return getattr(np, NUMPY_NAMES.get(name, name))
