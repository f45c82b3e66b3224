// What csrc/matcher.hpp is given by _engine.pyx: the rest of an event, packed when it is kept; closed keys.
#pragma once

#include <Python.h>

#include <string_view>
#include <vector>

#include "fields.hpp"
#include "matcher.hpp"

namespace walle_pipeline {

struct Holder {  // keeps the bytes of the last packed event alive
    PyObject* bytes = nullptr;
    ~Holder() { Py_XDECREF(bytes); }
};

struct Rest {  // asks `pack(event)`, which returns bytes and never raises
    PyObject* pack = nullptr;
    PyObject* event = nullptr;
    Holder* holder = nullptr;
    const Fields* fields = nullptr;  // null where an event without contents has to be packed too

    std::string_view operator()() const {
        if (fields != nullptr && plain(*fields, event)) return {};
        PyObject* bytes = PyObject_CallOneArg(pack, event);
        if (bytes == nullptr || !PyBytes_Check(bytes)) {
            PyErr_Clear();
            Py_XDECREF(bytes);
            return {};
        }
        Py_XDECREF(holder->bytes);
        holder->bytes = bytes;
        return {PyBytes_AS_STRING(bytes), static_cast<size_t>(PyBytes_GET_SIZE(bytes))};
    }
};

struct Known {
    std::string_view bytes;
    std::string_view operator()() const { return bytes; }
};

inline void expire_into(Matcher& matcher, int64_t now, std::vector<uint32_t>& closed) {
    matcher.expire_all(now, [&](uint32_t slot) { closed.push_back(slot); });
}

inline void finish_into(Matcher& matcher, std::vector<uint32_t>& closed) {
    matcher.finish([&](uint32_t slot) { closed.push_back(slot); });
}

inline void purge_into(Matcher& matcher, std::vector<uint32_t>& closed) {
    matcher.purge([&](uint32_t slot) { closed.push_back(slot); });
}

inline void adopt(Partial& partial, Matcher& matcher, uint32_t slot, uint32_t node) {
    matcher.restore(slot, node, std::move(partial));
}

}  // namespace walle_pipeline
