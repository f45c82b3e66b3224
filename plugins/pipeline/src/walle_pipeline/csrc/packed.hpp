// Events packed into bytes: varints, each relative to the event before. One coding for logs and for waiting events.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace walle_pipeline {

// An event without its Python object. Ids of kind, page and key are those of whoever packs.
struct Row {
    uint32_t kind = 0, page = 0, key = 0;
    int64_t time = 0;  // milliseconds since the epoch
    uint64_t id = 0, instance = 0;
    std::string_view rest;  // the fields that are not above, as MessagePack; empty: all have their defaults
};

// What a packed event is relative to: the one before it, or zeros.
struct Base {
    int64_t time = 0;
    uint64_t id = 0, instance = 0;
};

inline void put_varint(std::string& out, uint64_t value) {
    while (value >= 0x80) {
        out.push_back(static_cast<char>(value | 0x80));
        value >>= 7;
    }
    out.push_back(static_cast<char>(value));
}

inline uint64_t zigzag(int64_t value) { return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63); }
inline int64_t unzigzag(uint64_t value) { return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1); }

// Reads one varint; false at the end or where it is longer than 64 bits.
inline bool get_varint(const uint8_t*& at, const uint8_t* end, uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (at == end) return false;
        const uint8_t byte = *at++;
        if (shift == 63 && byte > 1) return false;
        value |= static_cast<uint64_t>(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

inline void put_row(std::string& out, Base& base, const Row& row) {
    put_varint(out, row.kind);
    put_varint(out, row.page);
    put_varint(out, row.key);
    put_varint(out, zigzag(static_cast<int64_t>(static_cast<uint64_t>(row.time) - static_cast<uint64_t>(base.time))));
    put_varint(out, zigzag(static_cast<int64_t>(row.id - base.id)));
    put_varint(out, zigzag(static_cast<int64_t>(row.instance - base.instance)));
    put_varint(out, row.rest.size());
    out.append(row.rest);
    base = {row.time, row.id, row.instance};
}

// Reads the next row; false where the bytes are none.
inline bool get_row(const uint8_t*& at, const uint8_t* end, Base& base, Row& row) {
    uint64_t kind, page, key, time, id, instance, size;
    if (!get_varint(at, end, kind) || !get_varint(at, end, page) || !get_varint(at, end, key) ||
        !get_varint(at, end, time) || !get_varint(at, end, id) || !get_varint(at, end, instance) ||
        !get_varint(at, end, size) || size > static_cast<uint64_t>(end - at) || (kind | page | key) > UINT32_MAX)
        return false;
    row.kind = static_cast<uint32_t>(kind);
    row.page = static_cast<uint32_t>(page);
    row.key = static_cast<uint32_t>(key);
    base.time = row.time = static_cast<int64_t>(static_cast<uint64_t>(base.time) + static_cast<uint64_t>(unzigzag(time)));
    base.id = row.id = base.id + static_cast<uint64_t>(unzigzag(id));
    base.instance = row.instance = base.instance + static_cast<uint64_t>(unzigzag(instance));
    row.rest = {reinterpret_cast<const char*>(at), static_cast<size_t>(size)};
    at += size;
    return true;
}

}  // namespace walle_pipeline
