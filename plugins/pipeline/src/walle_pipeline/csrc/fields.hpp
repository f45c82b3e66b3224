// Where the fields of a kind of events lie in its objects, asked of the member descriptors that its class has for them.
#pragma once

#include <Python.h>
#include <structmember.h>

#include <utility>
#include <vector>

namespace walle_pipeline {

// Offset of an attribute that is a plain object slot; -1 where it is anything else.
inline Py_ssize_t slot_of(PyObject* descriptor) {
    if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) return -1;
    const PyMemberDef* member = reinterpret_cast<PyMemberDescrObject*>(descriptor)->d_member;
    return member->type == T_OBJECT_EX || member->type == T_OBJECT ? member->offset : -1;
}

using Field = std::pair<Py_ssize_t, PyObject*>;  // offset, default

struct Fields {
    Py_ssize_t page = -1, time = -1, key = -1, id = -1, instance = -1;
    std::vector<Field> rest;  // other fields; the schema keeps their defaults alive
    bool known = false;       // all of them are slots
};

// Borrowed; null where the slot is empty.
inline PyObject* field(PyObject* event, Py_ssize_t offset) {
    return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(event) + offset);
}

// Have all other fields their defaults, or are they empty dicts in place of one?
inline bool plain(const Fields& fields, PyObject* event) {
    for (auto [offset, value] : fields.rest) {
        PyObject* found = field(event, offset);
        if (found == value) continue;
        if (found == nullptr || !PyDict_CheckExact(found) || !PyDict_CheckExact(value) || PyDict_GET_SIZE(found) != 0 ||
            PyDict_GET_SIZE(value) != 0)
            return false;
    }
    return true;
}

}  // namespace walle_pipeline
