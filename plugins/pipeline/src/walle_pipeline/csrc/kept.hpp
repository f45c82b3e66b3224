// Events that wait, packed.
#pragma once

#include <vector>

#include "packed.hpp"

namespace walle_pipeline {

// The events that partial matches of one key refer to, packed. A mark at every 32nd says where it begins, so that one
// is found without reading all before it.
struct Kept {
    static constexpr uint32_t STRIDE = 32;
    struct Mark {
        uint32_t offset;
        Base base;
    };
    std::string bytes;
    Base before, last;        // what the first and the next row are relative to
    std::vector<Mark> marks;  // of rows first + STRIDE, first + 2 * STRIDE, ...
    uint32_t first = 0, count = 0;

    uint32_t add(const Row& row) {
        if (count && count % STRIDE == 0) marks.push_back({static_cast<uint32_t>(bytes.size()), last});
        put_row(bytes, last, row);
        return first + count++;
    }
    // Takes up packed rows, of which `before` and `first` are set.
    void load(const uint8_t* at, size_t size) {
        bytes.assign(reinterpret_cast<const char*>(at), size);
        last = before;
        Row row;
        for (const uint8_t *from = at, *end = at + size; from != end; ++count) {
            if (count && count % STRIDE == 0) marks.push_back({static_cast<uint32_t>(from - at), last});
            if (!get_row(from, end, last, row)) return;
        }
    }
    // Where row `number`, or one a little before it, begins; `at` becomes its number.
    const uint8_t* seek(uint32_t number, uint32_t& at, Base& base) const {
        const uint32_t mark = std::min<uint32_t>((number - first) / STRIDE, static_cast<uint32_t>(marks.size()));
        at = first + mark * STRIDE;
        base = mark ? marks[mark - 1].base : before;
        return reinterpret_cast<const uint8_t*>(bytes.data()) + (mark ? marks[mark - 1].offset : 0);
    }
    // Forgets rows before number `keep`, or a few less, where that is at least half of them.
    void trim(uint32_t keep) {
        const uint32_t gone = std::min<uint32_t>((keep - first) / STRIDE, static_cast<uint32_t>(marks.size()));
        if (keep <= first || gone * STRIDE * 2 < count || gone == 0) return;
        const Mark mark = marks[gone - 1];
        bytes.erase(0, mark.offset);
        before = mark.base;
        marks.erase(marks.begin(), marks.begin() + gone);
        for (Mark& m : marks) m.offset -= mark.offset;
        first += gone * STRIDE;
        count -= gone * STRIDE;
        if (bytes.capacity() > 256 && bytes.size() * 4 < bytes.capacity()) bytes.shrink_to_fit();
    }

    // Forgets all rows before number `keep`.
    void rebase(uint32_t keep) {
        if (keep <= first) return;
        Kept fresh;
        fresh.first = keep;
        const uint8_t* at = reinterpret_cast<const uint8_t*>(bytes.data());
        const uint8_t* end = at + bytes.size();
        Base base = before;
        Row row;
        for (uint32_t number = first; get_row(at, end, base, row); ++number)
            if (number >= keep) fresh.add(row);
        *this = std::move(fresh);
    }
};

}  // namespace walle_pipeline
