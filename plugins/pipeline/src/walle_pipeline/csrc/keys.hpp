// The keys that wait for something, found by name: a bounded number of them as they are worked on, the others packed.
#pragma once

#include <cstdlib>
#include <deque>
#include <new>

#include "cold.hpp"

namespace walle_pipeline {

constexpr uint32_t NO_SLOT = UINT32_MAX;

class Keys {
   public:
    size_t room = 4096;  // keys that stay as they are worked on

    Keys() = default;
    Keys(const Keys&) = delete;
    Keys& operator=(const Keys&) = delete;
    ~Keys() {
        for (Cell& cell : cells_)
            if (cell.used() && !cell.hot()) std::free(cell.cold());
    }

    uint32_t slots() const { return static_cast<uint32_t>(cells_.size()); }  // all numbers are below it
    size_t size() const { return cells_.size() - free_.size(); }
    size_t awake() const { return size_t(pool_.size() - spare_.size()); }
    bool used(uint32_t slot) const { return cells_[slot].used(); }

    // `name` and its `hash`; the caller gives the same hash for the same name.
    uint32_t find(std::string_view name, uint32_t hash) const {
        if (table_.empty()) return NO_SLOT;
        for (size_t at = hash & mask();; at = (at + 1) & mask()) {
            const uint32_t slot = table_[at];
            if (slot == NO_SLOT || (cells_[slot].hash == hash && name_of(slot) == name)) return slot;
        }
    }
    uint32_t open(std::string_view name, uint32_t hash) {
        if ((size() + 1) * 4 > table_.size() * 3) grow();
        uint32_t slot;
        if (free_.empty()) {
            slot = slots();
            cells_.emplace_back();
        } else {
            slot = free_.back();
            free_.pop_back();
        }
        cells_[slot].hash = hash;
        Hot& hot = wake(slot);
        hot.name.assign(name);
        enter(slot);
        return slot;
    }
    void close(uint32_t slot) {
        leave(slot);
        Cell& cell = cells_[slot];
        if (cell.hot()) rest(*cell.hot());
        else std::free(cell.cold());
        cell.state = 0;
        free_.push_back(slot);
    }
    // Stays where it is until a key is opened or another one asked for.
    Key& operator[](uint32_t slot) {
        Hot* hot = cells_[slot].hot();
        if (__builtin_expect(hot == nullptr, 0)) hot = &thaw(slot);
        hot->touched = true;
        return hot->key;
    }
    Key* at(uint32_t slot) { return &(*this)[slot]; }
    bool idle(uint32_t slot) const {  // does it wait for nothing? One that was packed waits for something
        const Hot* hot = cells_[slot].hot();
        return hot != nullptr && hot->key.idle();
    }
    std::string_view name_of(uint32_t slot) const {
        const Cell& cell = cells_[slot];
        if (cell.hot()) return cell.hot()->name;
        const uint8_t* at = cell.cold();
        uint64_t size;
        get_varint(at, at + 10, size);
        return {reinterpret_cast<const char*>(at), size};
    }

   private:
    struct Hot {
        Key key;
        std::string name;
        uint32_t slot = NO_SLOT;
        bool touched = false;
    };
    struct Cell {
        uint64_t state = 0;  // 0: free; address of a Hot, plus one; or of a packed key: length and bytes of its name, state
        uint32_t hash = 0;
        bool used() const { return state != 0; }
        Hot* hot() const { return state & 1 ? reinterpret_cast<Hot*>(state - 1) : nullptr; }
        uint8_t* cold() const { return reinterpret_cast<uint8_t*>(state); }
    };

    size_t mask() const { return table_.size() - 1; }
    void enter(uint32_t slot) {
        size_t at = cells_[slot].hash & mask();
        while (table_[at] != NO_SLOT) at = (at + 1) & mask();
        table_[at] = slot;
    }
    void leave(uint32_t slot) {
        size_t hole = cells_[slot].hash & mask();
        while (table_[hole] != slot) hole = (hole + 1) & mask();
        for (size_t at = (hole + 1) & mask(); table_[at] != NO_SLOT; at = (at + 1) & mask()) {
            const size_t home = cells_[table_[at]].hash & mask();
            if (((at - home) & mask()) < ((at - hole) & mask())) continue;  // it may not lie before its home
            table_[hole] = table_[at];
            hole = at;
        }
        table_[hole] = NO_SLOT;
    }
    void grow() {
        table_.assign(std::max<size_t>(64, table_.size() * 2), NO_SLOT);
        for (uint32_t slot = 0; slot < slots(); ++slot)
            if (cells_[slot].used()) enter(slot);
    }

    // An empty place for a key. Packs one that was not touched since the hand came by last, where there are many.
    Hot& wake(uint32_t slot) {
        for (int looks = 0; spare_.empty() && pool_.size() >= room && looks < 8; ++looks) {
            Hot& old = pool_[hand_];
            hand_ = (hand_ + 1) % pool_.size();
            if (old.slot != NO_SLOT && !old.touched && may_freeze(old.key)) freeze(old);
            old.touched = false;
        }
        if (spare_.empty()) {
            pool_.emplace_back();
            spare_.push_back(&pool_.back());
        }
        Hot& hot = *spare_.back();
        spare_.pop_back();
        hot.slot = slot;
        hot.touched = true;
        cells_[slot].state = reinterpret_cast<uint64_t>(&hot) + 1;
        return hot;
    }
    void rest(Hot& hot) {
        hot.key = Key();
        hot.slot = NO_SLOT;
        if (hot.name.capacity() > 256) hot.name = std::string();
        spare_.push_back(&hot);
    }
    void freeze(Hot& hot) {
        freezer_.out.clear();
        put_varint(freezer_.out, hot.name.size());
        freezer_.out += hot.name;
        freezer_.key(hot.key);
        void* cold = std::malloc(freezer_.out.size());
        if (cold == nullptr) throw std::bad_alloc();
        std::memcpy(cold, freezer_.out.data(), freezer_.out.size());
        cells_[hot.slot].state = reinterpret_cast<uint64_t>(cold);
        rest(hot);
    }
    [[gnu::noinline, gnu::cold]] Hot& thaw(uint32_t slot) {
        uint8_t* cold = cells_[slot].cold();
        const std::string_view name = name_of(slot);
        Hot& hot = wake(slot);
        hot.name.assign(name);
        Thaw(reinterpret_cast<const uint8_t*>(name.data()) + name.size()).key(hot.key);
        std::free(cold);
        return hot;
    }

    std::vector<Cell> cells_;
    std::vector<uint32_t> free_, table_;
    std::deque<Hot> pool_;
    std::vector<Hot*> spare_;
    size_t hand_ = 0;
    Freezer freezer_;
};

}  // namespace walle_pipeline
