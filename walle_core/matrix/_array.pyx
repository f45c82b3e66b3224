# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Array: the array object of the array API standard over a Tensor, and the kernels behind the namespace's functions."""

cimport cython
from cpython.buffer cimport PyObject_GetBuffer
from cpython.complex cimport PyComplex_FromDoubles
from libc.stdint cimport (int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t)
from libc.string cimport memcpy, memset

from walle_core._native.tensor cimport Tensor, checked

from walle_core._native.tensor import Tensor as TensorType, stop_place
from walle_core.matrix.dtypes import CODES, PROMOTED, TYPES, code_of
from walle_core.matrix.errors import ArrayIndexError, ArrayOverflowError, ArrayTypeError, ArrayValueError
from walle_core.matrix.operators import BINARY_NAMES, UNARY_NAMES

include "kernels.pxi"

_NAMES = tuple([d.name for d in TYPES])
_FORMATS = tuple([d.format.encode() for d in TYPES])
_VERSIONS = frozenset(["2021.12", "2022.12", "2023.12", "2024.12"])
_engine = None


@cython.no_gc
@cython.final
cdef class Engine:
    """Addresses of an engine's float32 rows by operator number; 0 where there is none or ours is as good."""

    cdef walle_kernel_fn one[64]
    cdef walle_kernel_fn two[64]
    cdef walle_kernel_fn fold[4]
    cdef object keep

    def __init__(self, one, two, fold, keep):
        cdef int i
        memset(self.one, 0, sizeof(self.one))
        memset(self.two, 0, sizeof(self.two))
        memset(self.fold, 0, sizeof(self.fold))
        for i, address in one.items():
            self.one[<int>i] = <walle_kernel_fn><uintptr_t>address
        for i, address in two.items():
            self.two[<int>i] = <walle_kernel_fn><uintptr_t>address
        for i, address in fold.items():
            self.fold[<int>i] = <walle_kernel_fn><uintptr_t>address
        self.keep = keep


cdef walle_kernel_fn engine_row(int arity, int op) except? NULL:
    """The engine's float32 row of an operator of one (1) or two operands (2) or of a reduction (3), or NULL."""
    global _engine
    cdef Engine found
    if _engine is None:
        from walle_core.matrix.engine import rows
        _engine = Engine(*rows())
    found = <Engine>_engine
    return found.one[op] if arity == 1 else found.two[op] if arity == 2 else found.fold[op]


cdef Array new_array(int code, int rank, const Py_ssize_t* sizes):
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef Array out = Array.__new__(Array)
    t.allocate(rank, sizes, (<tuple>_NAMES)[code], (<tuple>_FORMATS)[code], kItem[code])
    out.tensor, out.code = t, code
    return out


cdef int sizes_of(object shape, Py_ssize_t* sizes) except -1:
    """Fills sizes from an integer or a sequence; returns the rank."""
    cdef int i
    cdef double total = 16
    if isinstance(shape, int):
        shape = (shape,)
    shape = tuple(shape)
    if len(shape) > 12:
        raise ArrayValueError(f"an array has at most 12 dimensions, not {len(shape)}")
    for i in range(len(shape)):
        sizes[i] = shape[i].__index__()
        if sizes[i] < 0:
            raise ArrayValueError(f"shape {shape} has a negative size")
        total *= sizes[i]
    if total > 4e18:
        raise ArrayValueError(f"shape {shape} is larger than the address space")
    return len(shape)


cdef Array cast_to(Array a, int code):
    """A copy in another dtype, or `a` itself where it is of that dtype."""
    if a.code == code:
        return a
    cdef Array out = new_array(code, a.tensor.rank, a.tensor.sizes)
    cdef unary_row row = find_cast(a.code, code)
    cdef void* d = out.tensor.data
    cdef const void* s = a.tensor.data
    cdef int64_t n = a.tensor.count, bad, item_dst = kItem[code], item = kItem[a.code]
    with nogil:
        bad = walle_run1(row, NULL, d, s, n, item_dst, item)
    checked(bad)
    return out


cdef Array binary_arrays(int op, Array a, Array b, Array into):
    """op(a, b), broadcast and promoted; written into `into` if that has the result's dtype and shape."""
    cdef int code = a.code, result, i, rank, ra, rb
    cdef Py_ssize_t sizes[12]
    cdef int64_t wide[12]
    cdef int64_t sa[12]
    cdef int64_t sb[12]
    cdef Py_ssize_t x, y
    cdef binary_row row
    cdef walle_kernel_fn fast = NULL
    cdef Array out
    cdef int64_t n, bad
    cdef void* d
    cdef const void* p
    cdef const void* q
    cdef bint same = True
    if code != b.code:
        code = (<const unsigned char*><bytes>PROMOTED)[13 * code + b.code]
    if code < kF32 and (op == kDiv or kAtan2 <= op <= kNextAfter):
        code = kF64
    row = find_binary(op, code)
    if row == NULL:
        raise ArrayTypeError(f"{(<tuple>BINARY_NAMES)[op]}() is not defined for {(<tuple>_NAMES)[a.code]} and "
                             f"{(<tuple>_NAMES)[b.code]}")
    if a.code != code:
        a = cast_to(a, code)
    if b.code != code:
        b = cast_to(b, code)
    result = kBool if op >= kEq else code
    ra, rb = a.tensor.rank, b.tensor.rank
    rank = ra if ra > rb else rb
    for i in range(1, rank + 1):
        x = a.tensor.sizes[ra - i] if i <= ra else 1
        y = b.tensor.sizes[rb - i] if i <= rb else 1
        if x != y:
            same = False
            if x != 1 and y != 1:
                raise ArrayValueError(f"shapes {a.tensor.shape} and {b.tensor.shape} do not broadcast")
        sizes[rank - i] = y if x == 1 else x
        wide[rank - i] = sizes[rank - i]
    if into is not None and into.code == result and into.tensor.rank == rank and not into.tensor.readonly:
        for i in range(rank):
            if into.tensor.sizes[i] != sizes[i]:
                into = None
                break
    else:
        into = None
    # An operand that repeats must not be overwritten while it is read.
    if into is not None and not (same or b.tensor.count == 1 and b is not into):
        into = None
    out = into if into is not None else new_array(result, rank, sizes)
    n = out.tensor.count
    d, p, q = out.tensor.data, a.tensor.data, b.tensor.data
    if n >= 4096 and code == kF32:
        fast = engine_row(2, op)
    if same or a.tensor.count == 1 or b.tensor.count == 1:
        i = 3 if same else 2 if a.tensor.count == 1 else 1
        if n < 4096:
            row(d, p, q, n, i)
        else:
            with nogil:
                bad = walle_run2(row, fast, d, p, q, n, i, kItem[result], kItem[code])
            checked(bad)
        return out
    for i in range(rank):
        sa[i] = sb[i] = 0
        if i >= rank - ra and a.tensor.sizes[i - rank + ra] != 1:
            sa[i] = a.tensor.strides[i - rank + ra]
        if i >= rank - rb and b.tensor.sizes[i - rank + rb] != 1:
            sb[i] = b.tensor.strides[i - rank + rb]
    with nogil:
        bad = walle_walk2(row, fast, d, p, q, rank, wide, sa, sb, kItem[result], kItem[code])
    checked(bad)
    return out


cdef object operator(int op, object x, object y):
    """op(x, y) of an Array and an Array or a number; NotImplemented for anything else."""
    cdef Array a, b
    if type(x) is Array:
        a = <Array>x
        b = <Array>y if type(y) is Array else scalar_beside(y, a.code)
    elif type(y) is Array:
        b = <Array>y
        a = scalar_beside(x, b.code)
    else:
        return NotImplemented
    if a is None or b is None:
        return NotImplemented
    return binary_arrays(op, a, b, None)


cdef object operator_into(int op, Array a, object y):
    """a op= y: the dtype and the shape stay."""
    cdef Array b = <Array>y if type(y) is Array else scalar_beside(y, a.code)
    if b is None:
        return NotImplemented
    if a.tensor.readonly:
        raise ArrayValueError("the array's memory is read-only; work on a copy")
    cdef Array made = binary_arrays(op, a, b, a)
    if made is a:
        return a
    if made.code != a.code:
        raise ArrayTypeError(f"the result is {made.dtype}, which an in-place operator cannot store as {a.dtype}")
    if made.tensor.shape != a.tensor.shape:
        raise ArrayValueError(f"the result has shape {made.tensor.shape}, the array {a.tensor.shape}")
    memcpy(a.tensor.data, made.tensor.data, a.tensor.count * a.tensor.itemsize)
    return a


def binary(int op, x, y):
    """Operator number `op` (see `operators`) of two arrays, or of an array and a number. Raises ArrayTypeError."""
    made = operator(op, x, y)
    if made is NotImplemented:
        for operand in (x, y):
            if hasattr(operand, "record_two"):
                return operand.record_two(op, x, y)
        raise ArrayTypeError(f"{BINARY_NAMES[op]}() takes arrays, or an array and a number, not {type(x).__name__} and "
                             f"{type(y).__name__}")
    return made


cdef Array unary_array(int op, Array a):
    cdef int code = a.code, result
    cdef unary_row row = find_unary(op, code)
    cdef walle_kernel_fn fast = NULL
    cdef Array out
    cdef int64_t n = a.tensor.count, bad
    cdef void* d
    cdef const void* s
    if row == NULL and code < kF32 and not (op == kImag or op == kInvert or op == kLNot or op == kSign or op == kNeg
                                            or op == kSignBit):
        a = cast_to(a, kF64)
        code = kF64
        row = find_unary(op, code)
    if row == NULL:
        raise ArrayTypeError(f"{(<tuple>UNARY_NAMES)[op]}() is not defined for {(<tuple>_NAMES)[a.code]}")
    result = code
    if op == kIsFinite or op == kIsInf or op == kIsNaN or op == kLNot or op == kSignBit:
        result = kBool
    elif code >= kC64 and (op == kAbs or op == kReal or op == kImag):
        result = code - 2
    out = new_array(result, a.tensor.rank, a.tensor.sizes)
    d, s = out.tensor.data, a.tensor.data
    if n < 4096:
        row(d, s, n)
        return out
    if code == kF32:
        fast = engine_row(1, op)
    with nogil:
        bad = walle_run1(row, fast, d, s, n, kItem[result], kItem[code])
    checked(bad)
    return out


def unary(int op, x):
    """Operator number `op` (see `operators`) of an array. Raises ArrayTypeError."""
    if type(x) is not Array:
        if hasattr(x, "record_one"):
            return x.record_one(op)
        raise ArrayTypeError(f"{UNARY_NAMES[op]}() takes an array, not {type(x).__name__}; use asarray()")
    return unary_array(op, <Array>x)


def empty_core(shape, int code):
    """Uninitialised memory."""
    cdef Py_ssize_t sizes[12]
    cdef int rank = sizes_of(shape, sizes)
    return new_array(code, rank, sizes)


def astype_core(x, int code, bint copy):
    """A copy in another dtype; x itself where nothing changes and copy is False."""
    if type(x) is not Array:
        return x.record_cast(code)
    return _astype(x, code, copy)


cdef Array _astype(Array x, int code, bint copy):
    if x.code == code:
        return x.copy() if copy else x
    return cast_to(x, code)


include "values.pxi"
include "object.pxi"
include "moves.pxi"
include "indexing.pxi"
include "reduce.pxi"
include "chain.pxi"
