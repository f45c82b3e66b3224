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

// The name of a key in Keys: which root; for sequences of one page instance, which; its UTF-8.
struct Name {
    std::string bytes;
    uint32_t hash = 0;

    // -1 with an exception set where `key` cannot be named.
    int set(PyObject* key, uint32_t root, uint64_t instance) {
        Py_ssize_t size;
        const char* text = PyUnicode_AsUTF8AndSize(key, &size);
        PyObject* held = nullptr;
        if (text == nullptr) {  // half a surrogate pair
            PyErr_Clear();
            held = PyUnicode_AsEncodedString(key, "utf-8", "surrogatepass");
            if (held == nullptr) return -1;
            text = PyBytes_AS_STRING(held);
            size = PyBytes_GET_SIZE(held);
        }
        uint64_t mixed = static_cast<uint64_t>(PyObject_Hash(key));
        bytes.assign(1, static_cast<char>(root));
        if (root) {
            put_varint(bytes, instance);
            mixed ^= (instance + 1) * 0x9E3779B97F4A7C15u;
        }
        mixed *= 0xD6E8FEB86659FD93u;
        hash = static_cast<uint32_t>(mixed >> 32);
        bytes.append(text, static_cast<size_t>(size));
        Py_XDECREF(held);
        return 0;
    }
    // The key, and its page instance where it has one, of which `bytes` is the name.
    static PyObject* key(std::string_view bytes, uint64_t& instance) {
        const uint8_t* at = reinterpret_cast<const uint8_t*>(bytes.data());
        const uint8_t* end = at + bytes.size();
        if (*at++) get_varint(at, end, instance);
        return PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(at), end - at, "surrogatepass");
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
