# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.string cimport string

cdef extern from "<string_view>" namespace "std" nogil:
    cdef cppclass string_view:
        string_view()
        string_view(const char*, size_t)
        const char* data()
        size_t size()

cdef extern from "packed.hpp" namespace "walle_pipeline" nogil:
    cdef cppclass Row:
        uint32_t kind, page, key
        int64_t time
        uint64_t id, instance
        string_view rest
    cdef cppclass Base:
        int64_t time
        uint64_t id, instance
    void put_row(string&, Base&, const Row&) except +
    cbool get_row(const uint8_t*&, const uint8_t*, Base&, Row&)
