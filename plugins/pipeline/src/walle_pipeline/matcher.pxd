# cython: language_level=3
# distutils: language = c++
"""Declarations of csrc/: trie, symbols, matcher and what they are given."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.pair cimport pair
from libcpp.string cimport string
from libcpp.vector cimport vector

from walle_pipeline.packed cimport Base, Row, string_view

cdef extern from "trie.hpp" namespace "walle_pipeline" nogil:
    cdef cppclass Exit:
        uint32_t cond, target
        uint8_t mode
    cdef cppclass Position:
        vector[Exit] exits
        vector[uint32_t] forbids
    cdef cppclass Pattern:
        int64_t within
        uint8_t after
        cbool span, timeouts, live
        uint64_t added
        vector[uint32_t] nodes
        vector[pair[uint32_t, uint32_t]] groups
    cdef cppclass Group:
        uint32_t patterns
    cdef cppclass Node:
        vector[Group] groups
    cdef cppclass Trie:
        vector[Node] nodes
        vector[Pattern] patterns
        uint32_t add(Pattern, const vector[Position]&, cbool) except +
        void remove(uint32_t)
        size_t live_nodes()

cdef extern from "symbol.hpp" namespace "walle_pipeline" nogil:
    cdef cppclass Symbol:
        const uint32_t* at
        uint32_t start_count(uint32_t)
    size_t compile_symbol(const Trie&, const uint32_t*, size_t, vector[uint32_t]&) except +

cdef extern from "matcher.hpp" namespace "walle_pipeline" nogil:
    cdef cppclass Small:
        Small()
        void push(uint32_t)
        uint32_t size()
        uint32_t* data()
    cdef cppclass Partial:
        Partial()
        int64_t start
        uint64_t position
        uint32_t last
        int64_t passed
        Small steps, left
    cdef cppclass Bucket:
        uint32_t node
        vector[Partial] items
    cdef cppclass Held:
        Held()
        uint32_t pattern
        uint64_t position, end
        int64_t start, time
        Small steps
    cdef cppclass Kept:
        string bytes
        Base before, last
        uint32_t first, count
        uint32_t add(const Row&) except +
    cdef cppclass Decisions:
        vector[pair[uint32_t, uint64_t]] skip, done
        vector[Held] held
    cdef cppclass Key:
        vector[Bucket] buckets
        Kept kept
        uint32_t seq
        cbool idle()
        cbool decides()
        Decisions& decided() except +
    cdef cppclass Found:
        uint32_t pattern, key
        cbool timeout
        int64_t start, time
        uint64_t position
        string rows
        vector[uint32_t] steps
    cdef cppclass Limits:
        uint32_t partials
        size_t kept
    cdef cppclass Counters:
        uint64_t events, matches, timeouts, cut, ended
    cdef cppclass Keys:
        size_t room
        uint32_t slots()
        size_t size()
        size_t awake()
        cbool used(uint32_t)
        cbool idle(uint32_t)
        uint32_t find(const string&, uint32_t)
        uint32_t open(const string&, uint32_t) except +
        void close(uint32_t)
        Key* at(uint32_t) except +
        string_view name_of(uint32_t)
    const uint32_t NO_SLOT
    cdef cppclass Matcher:
        Trie trie
        Keys keys
        vector[Found] found
        Limits limits
        Counters counters
        uint64_t live
        void push[R](uint32_t, uint32_t, uint64_t, Row, Symbol, R) except +
        int64_t next_deadline() except +
        void restored(uint32_t) except +

cdef extern from "fields.hpp" namespace "walle_pipeline":
    cdef cppclass Field:
        Py_ssize_t first
        PyObject* second
    cdef cppclass Fields:
        Py_ssize_t page, time, key, id, instance
        vector[Field] rest
        cbool known
    Py_ssize_t slot_of(object)
    PyObject* field(PyObject*, Py_ssize_t)

cdef extern from "rest.hpp" namespace "walle_pipeline":
    cdef cppclass Holder:
        pass
    cdef cppclass Rest:
        PyObject* pack
        PyObject* event
        Holder* holder
        const Fields* fields
    cdef cppclass Name:
        string bytes
        uint32_t hash
        int set(PyObject*, uint32_t, uint64_t) except -1
        @staticmethod
        PyObject* key(string_view, uint64_t&)
    cdef cppclass Known:
        string_view bytes
    void expire_into(Matcher&, int64_t, vector[uint32_t]&) except +
    void finish_into(Matcher&, vector[uint32_t]&) except +
    void purge_into(Matcher&, vector[uint32_t]&) except +
    void adopt(Partial&, Matcher&, uint32_t, uint32_t) except +
