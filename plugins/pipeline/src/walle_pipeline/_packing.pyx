# cython: language_level=3, subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Many events in few bytes: rows of csrc/packed.hpp and the names that they number."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libcpp.string cimport string

from walle_pipeline.packed cimport Base, Row, get_row, put_row, string_view


cdef class Packer:
    """Packs events, in any order, about 10 bytes each beside their contents.

    Args:
        schema: has `numbers`, `rest(event)`, `make(...)`.
    """

    cdef object schema
    cdef dict pages, keys
    cdef string rows
    cdef Base base
    cdef readonly Py_ssize_t count

    def __init__(self, schema):
        self.schema = schema
        self.clear()

    def clear(self):
        """Forgets all."""
        self.pages, self.keys, self.count = {}, {}, 0
        self.rows.clear()
        self.base.time, self.base.id, self.base.instance = 0, 0, 0

    def add(self, event):
        """Packs one more event. Raises EventError if the schema does not have its kind, or its contents cannot be packed."""
        cdef Row row
        cdef bytes rest
        number = self.schema.numbers.get(type(event))
        if number is None:
            self.schema.number(event)
        rest = self.schema.rest(event)
        row.kind = number
        row.page = self.pages.setdefault(event.page, len(self.pages))
        row.key = self.keys.setdefault(event.key, len(self.keys))
        row.time, row.id, row.instance = event.time, event.id, event.instance
        row.rest = string_view(PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
        put_row(self.rows, self.base, row)
        self.count += 1

    def __len__(self):
        return self.count

    @property
    def nbytes(self):
        """Bytes of the rows."""
        return self.rows.size()

    @property
    def rows_bytes(self):
        """The rows, as `unpack` and `Engine.feed_packed` take them."""
        return PyBytes_FromStringAndSize(self.rows.data(), self.rows.size())

    @property
    def page_names(self):
        """Names by the rows' page."""
        return list(self.pages)

    @property
    def key_names(self):
        """Names by the rows' key."""
        return list(self.keys)

    def events(self):
        """The events again, in the order in which they were added."""
        return unpack(self.schema, self.rows_bytes, list(range(len(self.schema.numbers))), self.page_names, self.key_names)


def unpack(schema, bytes rows, list kinds, list pages, list keys):
    """The events of packed rows; `kinds` numbers of the schema's, `pages` and `keys` names, by the rows' numbers.

    Raises EventError at bytes that are no row.
    """
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(rows)
    cdef const uint8_t* end = at + PyBytes_GET_SIZE(rows)
    cdef Base base
    cdef Row row
    cdef list events = []
    make = schema.make
    while at != end:
        if not get_row(at, end, base, row) or row.kind >= <uint32_t>len(kinds) or row.page >= <uint32_t>len(pages) \
                or row.key >= <uint32_t>len(keys):
            raise schema.damaged(len(events))
        rest = PyBytes_FromStringAndSize(row.rest.data(), row.rest.size())
        events.append(make(kinds[row.kind], pages[row.page], row.time, keys[row.key], row.id, row.instance, rest))
    return events
