from libc.stdint cimport int64_t, uint64_t

cdef extern from "storage.hpp" nogil:
    ctypedef struct walle_storage:
        int64_t references
        uint64_t nbytes
        uint64_t magic
    walle_storage* walle_storage_new(uint64_t nbytes)
    void* walle_storage_data(walle_storage* s)
    void walle_storage_retain(walle_storage* s)
    void walle_storage_release(walle_storage* s)
    int64_t walle_storage_references(walle_storage* s)
    int64_t walle_storage_count(int made)
    ctypedef int (*walle_storage_meter_fn)(int64_t bytes) noexcept nogil
    void walle_storage_set_meter(walle_storage_meter_fn meter)
    bint walle_storage_is_metered()
    uint64_t WALLE_STORAGE_MAGIC

cdef int64_t checked(int64_t result) except -2

cdef class Tensor:
    cdef void* data
    cdef walle_storage* storage
    cdef Py_buffer source
    cdef bint has_source
    cdef bint readonly
    cdef int rank
    cdef Py_ssize_t sizes[12]
    cdef Py_ssize_t strides[12]
    cdef Py_ssize_t itemsize
    cdef Py_ssize_t count
    cdef object kind
    cdef object _format
    cdef int set_shape(self, object shape, object dtype) except -1
    cdef int allocate(self, int rank, const Py_ssize_t* sizes, object kind, object format, Py_ssize_t itemsize) except -1
