# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Array: the array object of the array API standard over a Tensor, and the kernels behind the namespace's functions."""

cimport cython
from cpython.buffer cimport PyObject_GetBuffer
from cpython.complex cimport PyComplex_FromDoubles
from libc.stdint cimport (int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t)
from libc.string cimport memcpy, memset

from walle_core._native.tensor cimport Tensor

from walle_core._native.tensor import Tensor as TensorType
from walle_core.matrix.dtypes import CODES, PROMOTED, TYPES, code_of
from walle_core.matrix.errors import ArrayIndexError, ArrayOverflowError, ArrayTypeError, ArrayValueError
from walle_core.matrix.operators import BINARY_NAMES, UNARY_NAMES

cdef extern from "walle/abi.h" nogil:
    ctypedef void* walle_kernel_fn  # called in C++ only

cdef extern from "walle/matrix/types.hpp" namespace "walle::matrix" nogil:
    ctypedef void (*binary_row)(void*, const void*, const void*, int64_t, int) noexcept
    ctypedef void (*unary_row)(void*, const void*, int64_t) noexcept
    ctypedef enum Binary:
        kAdd, kSub, kMul, kDiv, kFloorDiv, kRem, kPow, kMax, kMin, kAtan2, kHypot, kLogAddExp, kCopySign, kNextAfter
        kAnd, kOr, kXor, kShl, kShr, kEq, kNe, kLt, kLe, kGt, kGe, kLAnd, kLOr, kLXor, kBinaries
    ctypedef enum Unary:
        kAbs, kImag, kInvert, kIsFinite, kIsInf, kIsNaN, kLNot, kNeg, kPos, kReal, kSign, kSignBit, kUnaries, kRound
        kCeil, kFloor, kTrunc, kSquare, kConj
    binary_row find_binary(int op, int code)
    unary_row find_unary(int op, int code)
    unary_row find_cast(int source, int target)

cdef extern from "walle/matrix/walk.hpp" namespace "walle::matrix" nogil:
    cdef cppclass Row2:
        binary_row own
        walle_kernel_fn engine
    cdef cppclass Row1:
        unary_row own
        walle_kernel_fn engine
    void walk2(const Row2& row, char* dst, const char* a, const char* b, int rank, const int64_t* sizes,
               const int64_t* sa, const int64_t* sb, int64_t item_dst, int64_t item)
    void copy_strided(char* d, const int64_t* sd, const char* s, const int64_t* ss, int rank, const int64_t* sizes,
                      int64_t item)
    void walle_select "walle::matrix::select"(char* d, const uint8_t* c, const char* p, const char* q, int64_t n,
                                              int64_t item)
    bint gather(char* dst, const char* src, const int64_t* index, int64_t outer, int64_t count, int64_t size,
                int64_t bytes)
    bint scatter(char* dst, const char* src, const int64_t* index, int64_t count, int64_t size, int64_t bytes,
                 bint repeated)
    bint gather_along(char* dst, const char* src, const int64_t* index, int64_t outer, int64_t count, int64_t size,
                      int64_t inner, int64_t item)

cdef extern from *:
    """
    static inline void walle_run1(walle::matrix::unary_row own, walle_kernel_fn engine, void* d, const void* a, int64_t n) {
      walle::matrix::Row1 row = {own, engine};
      row(d, a, n);
    }
    static inline void walle_fold(walle_kernel_fn engine, void* d, const void* s, int64_t outer, int64_t n, int64_t inner) {
      void* buf[2] = {d, const_cast<void*>(s)};
      const int64_t arg[3] = {outer, n, inner};
      const walle_call call = {buf, arg, 0, outer * inner, 0, 1};
      engine(&call);
    }
    static inline void walle_run2(walle::matrix::binary_row own, walle_kernel_fn engine, void* d, const void* a,
                                  const void* b, int64_t n, int dense) {
      walle::matrix::Row2 row = {own, engine};
      row(d, a, b, n, dense);
    }
    static inline void walle_walk2(walle::matrix::binary_row own, walle_kernel_fn engine, void* d, const void* a,
                                   const void* b, int rank, const int64_t* sizes, const int64_t* sa, const int64_t* sb,
                                   int64_t item_dst, int64_t item) {
      walle::matrix::Row2 row = {own, engine};
      walle::matrix::walk2(row, (char*)d, (const char*)a, (const char*)b, rank, sizes, sa, sb, item_dst, item);
    }
    """
    void walle_fold(walle_kernel_fn engine, void* d, const void* s, int64_t outer, int64_t n, int64_t inner) nogil
    void walle_run1(unary_row own, walle_kernel_fn engine, void* d, const void* a, int64_t n) nogil
    void walle_run2(binary_row own, walle_kernel_fn engine, void* d, const void* a, const void* b, int64_t n,
                    int dense) nogil
    void walle_walk2(binary_row own, walle_kernel_fn engine, void* d, const void* a, const void* b, int rank,
                     const int64_t* sizes, const int64_t* sa, const int64_t* sb, int64_t item_dst, int64_t item) nogil

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


cdef int put_scalar(void* p, int code, object value) except -1:
    """Writes one Python number as an element of `code`."""
    cdef double complex z
    if code == kBool:
        (<uint8_t*>p)[0] = 1 if value else 0
    elif code < kF32:
        whole = int(value)
        bits = 8 * kItem[code]
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if code < kU8 else (0, (1 << bits) - 1)
        if not low <= whole <= high:
            raise ArrayOverflowError(f"{whole} does not fit {(<tuple>_NAMES)[code]}, which holds {low} to {high}")
        if code < kU8:
            put_int(p, code, whole)
        else:
            put_uint(p, code, whole)
    elif code == kF32:
        (<float*>p)[0] = <float><double>value
    elif code == kF64:
        (<double*>p)[0] = value
    else:
        z = value
        if code == kC64:
            (<float*>p)[0], (<float*>p)[1] = <float>z.real, <float>z.imag
        else:
            (<double*>p)[0], (<double*>p)[1] = z.real, z.imag
    return 0


cdef inline void put_int(void* p, int code, int64_t v) noexcept:
    if code == kI8:
        (<int8_t*>p)[0] = <int8_t>v
    elif code == kI16:
        (<int16_t*>p)[0] = <int16_t>v
    elif code == kI32:
        (<int32_t*>p)[0] = <int32_t>v
    else:
        (<int64_t*>p)[0] = v


cdef inline void put_uint(void* p, int code, uint64_t v) noexcept:
    if code == kU8:
        (<uint8_t*>p)[0] = <uint8_t>v
    elif code == kU16:
        (<uint16_t*>p)[0] = <uint16_t>v
    elif code == kU32:
        (<uint32_t*>p)[0] = <uint32_t>v
    else:
        (<uint64_t*>p)[0] = v


cdef object get_scalar(const void* p, int code):
    if code == kF32:
        return <double>(<float*>p)[0]
    if code == kF64:
        return (<double*>p)[0]
    if code == kBool:
        return (<uint8_t*>p)[0] != 0
    if code == kI64:
        return (<int64_t*>p)[0]
    if code == kI32:
        return (<int32_t*>p)[0]
    if code == kI16:
        return (<int16_t*>p)[0]
    if code == kI8:
        return (<int8_t*>p)[0]
    if code == kU8:
        return (<uint8_t*>p)[0]
    if code == kU16:
        return (<uint16_t*>p)[0]
    if code == kU32:
        return (<uint32_t*>p)[0]
    if code == kU64:
        return (<uint64_t*>p)[0]
    if code == kC64:
        return PyComplex_FromDoubles((<float*>p)[0], (<float*>p)[1])
    return PyComplex_FromDoubles((<double*>p)[0], (<double*>p)[1])


cdef int scalar_code(object value) except -2:
    """Dtype of a Python number on its own; -1 for what is none."""
    if isinstance(value, bool):
        return kBool
    if isinstance(value, int):
        return kI64
    if isinstance(value, float):
        return kF64
    if isinstance(value, complex):
        return kC128
    return -1


cdef Array scalar_array(object value, int code):
    cdef Array out = new_array(code, 0, NULL)
    put_scalar(out.tensor.data, code, value)
    return out


cdef Array scalar_beside(object value, int code):
    """A Python number as an operand beside an array of dtype `code`; None if it is no number."""
    if code == kF32 and type(value) is float:
        return scalar_array(value, code)
    cdef int own = scalar_code(value)
    if own < 0:
        return None
    if own == kI64 and code == kBool or own == kF64 and code < kF32 or own == kC128 and code < kF32:
        return scalar_array(value, own)
    if own == kC128 and code < kC64:
        return scalar_array(value, code + 2)
    return scalar_array(value, code)


cdef Array cast_to(Array a, int code):
    """A copy in another dtype, or `a` itself where it is of that dtype."""
    if a.code == code:
        return a
    cdef Array out = new_array(code, a.tensor.rank, a.tensor.sizes)
    cdef unary_row row = find_cast(a.code, code)
    cdef void* d = out.tensor.data
    cdef const void* s = a.tensor.data
    cdef int64_t n = a.tensor.count
    with nogil:
        row(d, s, n)
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
    cdef int64_t n
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
                walle_run2(row, fast, d, p, q, n, i)
        return out
    for i in range(rank):
        sa[i] = sb[i] = 0
        if i >= rank - ra and a.tensor.sizes[i - rank + ra] != 1:
            sa[i] = a.tensor.strides[i - rank + ra]
        if i >= rank - rb and b.tensor.sizes[i - rank + rb] != 1:
            sb[i] = b.tensor.strides[i - rank + rb]
    with nogil:
        walle_walk2(row, fast, d, p, q, rank, wide, sa, sb, kItem[result], kItem[code])
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
    cdef int64_t n = a.tensor.count
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
        walle_run1(row, fast, d, s, n)
    return out


def unary(int op, x):
    """Operator number `op` (see `operators`) of an array. Raises ArrayTypeError."""
    if type(x) is not Array:
        if hasattr(x, "record_one"):
            return x.record_one(op)
        raise ArrayTypeError(f"{UNARY_NAMES[op]}() takes an array, not {type(x).__name__}; use asarray()")
    return unary_array(op, <Array>x)


cdef int flatten(object value, list shape, int depth, list out) except -1:
    cdef bint nested = isinstance(value, (list, tuple))
    if depth == len(shape):
        if nested or isinstance(value, (Array, TensorType)) and value.ndim:
            raise ArrayValueError("nested sequences have uneven depth; give a rectangular one")
        out.append(value.item() if isinstance(value, (Array, TensorType)) else value)
        return 0
    if isinstance(value, (Array, TensorType)):
        value, nested = value.tolist(), True
    if not nested or len(value) != shape[depth]:
        raise ArrayValueError("nested sequences have uneven lengths; give a rectangular one")
    for item in value:
        flatten(item, shape, depth + 1, out)
    return 0


cdef Array array_of(object value, int code):
    """An Array, number, nested sequence, Tensor or buffer as an Array; code < 0: the value's own dtype."""
    cdef Array out
    cdef Py_ssize_t sizes[12]
    cdef Py_ssize_t i, item
    cdef int rank, own
    if type(value) is Array:
        return <Array>value if code < 0 else cast_to(<Array>value, code)
    own = scalar_code(value)
    if own == kI64 and code < 0 and value >> 63 > 0:
        own = kU64
    if own >= 0:
        return scalar_array(value, own if code < 0 else code)
    if not isinstance(value, (list, tuple)):
        out = Array.of(value)
        return out if code < 0 else cast_to(out, code)
    shape, probe = [], value
    while True:
        if isinstance(probe, (list, tuple)):
            shape.append(len(probe))
            if not probe:
                break
            probe = probe[0]
        elif isinstance(probe, (Array, TensorType)):
            shape += list(probe.shape)
            break
        else:
            break
    flat = []
    flatten(value, shape, 0, flat)
    if code < 0:
        code = kF64 if not flat else 0
        for v in flat:
            own = scalar_code(v)
            if own < 0:
                raise ArrayTypeError(f"cannot make an array from {type(v).__name__}; give numbers")
            code = max(code, own)
            if own == kI64 and v >> 63 > 0 and code == kI64:
                code = kU64 if v < 1 << 64 else kI64
    rank = sizes_of(shape, sizes)
    out = new_array(code, rank, sizes)
    item = kItem[code]
    for i in range(len(flat)):
        put_scalar(<char*>out.tensor.data + i * item, code, flat[i])
    return out


def asarray_core(value, code, copy):
    """`asarray` with a dtype number or -1; copy True, False or None."""
    cdef Array out
    if type(value) is Array or not isinstance(value, (int, float, complex, list, tuple)):
        out = array_of(value, -1)
        if code >= 0 and out.code != code:
            if copy is False:
                raise ArrayValueError(f"{out.dtype} to another dtype needs a copy, which copy=False forbids")
            return cast_to(out, code)
        return out.copy() if copy else out
    if copy is False:
        raise ArrayValueError("numbers and sequences are always copied; copy=False cannot be kept")
    return array_of(value, code)


def empty_core(shape, int code):
    """Uninitialised memory."""
    cdef Py_ssize_t sizes[12]
    cdef int rank = sizes_of(shape, sizes)
    return new_array(code, rank, sizes)


def full_core(shape, value, int code):
    """All elements the same."""
    cdef Py_ssize_t sizes[12]
    cdef int rank = sizes_of(shape, sizes)
    cdef Array out = new_array(code, rank, sizes)
    cdef char one[16]
    cdef int64_t nbytes = out.tensor.count * out.tensor.itemsize, done
    cdef Py_ssize_t item = out.tensor.itemsize
    if type(value) is Array:
        memcpy(one, cast_to(value, code).tensor.data, item)
    else:
        put_scalar(one, code, value)
    cdef char* p = <char*>out.tensor.data
    cdef bint zero = True
    for i in range(item):
        zero = zero and one[i] == 0
    if zero or item == 1:
        memset(p, one[0], nbytes)
    elif nbytes:
        memcpy(p, one, item)
        done = item
        while done < nbytes:
            memcpy(p + done, p, min(done, nbytes - done, 16384))
            done += min(done, nbytes - done, 16384)
    return out


def astype_core(x, int code, bint copy):
    """A copy in another dtype; x itself where nothing changes and copy is False."""
    if type(x) is not Array:
        return x.record_cast(code)
    return _astype(x, code, copy)


cdef Array _astype(Array x, int code, bint copy):
    if x.code == code:
        return x.copy() if copy else x
    return cast_to(x, code)


include "object.pxi"
include "moves.pxi"
include "indexing.pxi"
include "reduce.pxi"
include "chain.pxi"
