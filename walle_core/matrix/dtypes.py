"""Element types: their numbers, how two of them combine, and what is known of their values.

Promotion is that of the array API standard; between integers and floats, which it leaves open, NumPy's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from walle_core.dtypes import DTYPES, DType
from walle_core.matrix.errors import ArrayTypeError

NAMES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64", "complex64", "complex128",
)  # fmt: skip
TYPES: tuple[DType, ...] = tuple(
    DTYPES[name] for name in NAMES
)  # by number, as walle/matrix/types.hpp has them
CODES: dict[str, int] = {name: code for code, name in enumerate(NAMES)}
BOOL, INT64, UINT64, FLOAT32, FLOAT64, COMPLEX64, COMPLEX128 = 0, 4, 8, 9, 10, 11, 12

bool = DTYPES["bool"]
int8, int16, int32, int64 = (DTYPES[n] for n in ("int8", "int16", "int32", "int64"))
uint8, uint16, uint32, uint64 = (DTYPES[n] for n in ("uint8", "uint16", "uint32", "uint64"))
float32, float64 = DTYPES["float32"], DTYPES["float64"]
complex64, complex128 = DTYPES["complex64"], DTYPES["complex128"]


def _promoted(a: int, b: int) -> int:
    x, y = TYPES[a], TYPES[b]
    if a == b:
        return a
    if BOOL in (a, b):
        return max(a, b)
    if x.kind == y.kind:
        return max(a, b)
    kinds = {x.kind, y.kind}
    if kinds == {"i", "u"}:
        signed, unsigned = (x, y) if x.kind == "i" else (y, x)
        if unsigned.itemsize < signed.itemsize:
            return CODES[signed.name]
        return {1: CODES["int16"], 2: CODES["int32"], 4: INT64, 8: FLOAT64}[unsigned.itemsize]
    wide = any(t.kind in "iu" and t.itemsize > 2 for t in (x, y)) or float64 in (x, y) or complex128 in (x, y)
    return (COMPLEX128 if wide else COMPLEX64) if "c" in kinds else FLOAT64 if wide else FLOAT32


PROMOTED: bytes = bytes(_promoted(a, b) for a in range(13) for b in range(13))  # [13 * a + b]


def code_of(dtype: Any) -> int:
    """Number of a dtype, given as an object, a name or a Python type. Raises ArrayTypeError if arrays have none such."""
    if isinstance(dtype, DType):
        code = CODES.get(dtype.name)
    elif isinstance(dtype, type):
        name = {"bool": "bool", "int": "int64", "float": "float64", "complex": "complex128"}.get(
            dtype.__name__
        )
        code = CODES.get(name or dtype.__name__)
    else:
        code = CODES.get(str(dtype))
    if code is None:
        raise ArrayTypeError(f"no array dtype {dtype!r}; there are {', '.join(NAMES)}")
    return code


def can_cast(from_: Any, to: Any, /) -> object:
    """True if promotion may turn dtype (or array) `from_` into dtype `to`."""
    code, wanted = code_of(getattr(from_, "dtype", from_)), code_of(to)
    return PROMOTED[13 * code + wanted] == wanted


_KINDS = {
    "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f",
    "complex floating": "c", "numeric": "iufc",
}  # fmt: skip


def isdtype(dtype: DType, kind: Any) -> object:
    """True if `dtype` is of `kind`: a dtype, a name of kinds, or a tuple of these. Raises ArrayValueError."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, DType):
        return dtype is kind
    if kind not in _KINDS:
        from walle_core.matrix.errors import ArrayValueError

        raise ArrayValueError(f"no kind of dtypes {kind!r}; there are {', '.join(_KINDS)}")
    return dtype.kind in _KINDS[kind]


class FloatLimits(NamedTuple):
    """What `finfo` gives: bits, eps, max, min, smallest_normal as Python numbers; dtype of the real part."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntegerLimits(NamedTuple):
    """What `iinfo` gives: bits, max, min as Python integers; dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def finfo(type: Any, /) -> FloatLimits:
    """Limits of a floating dtype, of its real part for complex ones, or of an array's. Raises ArrayTypeError."""
    dtype = TYPES[code_of(getattr(type, "dtype", type))]
    if dtype.kind not in "fc":
        raise ArrayTypeError(f"finfo() takes floating dtypes, not {dtype}; use iinfo()")
    if dtype in (float32, complex64):
        top = float.fromhex("0x1.fffffep127")
        return FloatLimits(32, 2.0**-23, top, -top, 2.0**-126, float32)
    top = float.fromhex("0x1.fffffffffffffp1023")
    return FloatLimits(64, 2.0**-52, top, -top, 2.0**-1022, float64)


def iinfo(type: Any, /) -> IntegerLimits:
    """Limits of an integer dtype, or of an array's. Raises ArrayTypeError."""
    dtype = TYPES[code_of(getattr(type, "dtype", type))]
    if dtype.kind not in "iu":
        raise ArrayTypeError(f"iinfo() takes integer dtypes, not {dtype}; use finfo()")
    bits = dtype.bits
    if dtype.kind == "u":
        return IntegerLimits(bits, 2**bits - 1, 0, dtype)
    return IntegerLimits(bits, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), dtype)
