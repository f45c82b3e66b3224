from libc.stdint cimport int64_t

from walle_core._native.tensor cimport Tensor

cdef extern from "walle/matrix/types.hpp" namespace "walle::matrix" nogil:
    ctypedef enum Code:
        kBool, kI8, kI16, kI32, kI64, kU8, kU16, kU32, kU64, kF32, kF64, kC64, kC128
    const int64_t kItem[13]

cdef class Array:
    cdef readonly Tensor tensor
    cdef readonly int code
    cdef object single(self, str what)

# A fresh array of uninitialised memory. Raises ArrayValueError beyond the address space.
cdef Array new_array(int code, int rank, const Py_ssize_t* sizes)
cdef Array cast_to(Array a, int code)
# `value` (Array, number or nested sequence) as an Array; `like` decides the dtype of numbers. None: not convertible.
cdef Array array_of(object value, int code)
