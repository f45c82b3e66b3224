# Included by _engine.pyx: where the fields of events lie (csrc/fields.hpp).

cdef inline object slot(object event, Py_ssize_t offset):
    cdef PyObject* found = field(<PyObject*>event, offset)
    if found is NULL:
        raise AttributeError("an event lacks a field; make events by calling their class")
    return <object>found


cdef Fields fields_of(schema, cls) except *:
    cdef Fields found
    cdef Field one
    cdef list slots = []
    defaults = schema.defaults(cls)
    for name in ("page", "time", "key", "id", "instance", *defaults):
        slots.append(slot_of(getattr(cls, name)))
    found.page, found.time, found.key, found.id, found.instance = slots[:5]
    for offset, value in zip(slots[5:], defaults.values()):
        one.first, one.second = offset, <PyObject*>value
        found.rest.push_back(one)
    found.known = -1 not in slots
    return found
