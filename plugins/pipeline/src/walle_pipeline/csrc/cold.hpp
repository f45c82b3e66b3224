// A key that nothing has happened to for a while, packed: about an eighth of what it takes while it is worked on.
#pragma once

#include "state.hpp"

namespace walle_pipeline {

constexpr size_t COLD_BYTES = 4096;  // of events; a key with more, or with more partial matches, is not packed
constexpr uint32_t COLD_PARTIALS = 32;

inline bool may_freeze(const Key& key) {
    return key.kept.bytes.size() <= COLD_BYTES && key.partials <= COLD_PARTIALS &&
           (!key.decisions || key.decisions->skip.size() + key.decisions->done.size() + key.decisions->held.size() <= COLD_PARTIALS);
}

class Freezer {
   public:
    std::string out;

    void key(const Key& key) {
        const Base zero;
        const Base& before = key.kept.before;
        const bool based = before.time != zero.time || before.id != zero.id || before.instance != zero.instance;
        time_ = key.kept.last.time;
        put((key.deadline != INT64_MAX) | (key.queued != INT64_MAX) << 1 | (key.queued == key.deadline) << 2 | based << 3 | (key.decisions != nullptr) << 4);
        if (key.kept.count) put(zigzag(time_));
        else put(0);
        if (key.deadline != INT64_MAX) moment(key.deadline);
        if (key.queued != INT64_MAX && key.queued != key.deadline) moment(key.queued);
        put(key.seq);
        put(key.kept.first);
        if (based) {
            put(zigzag(before.time));
            put(before.id);
            put(before.instance);
        }
        put(key.kept.bytes.size());
        out += key.kept.bytes;
        put(key.buckets.size());
        for (const Bucket& bucket : key.buckets) {
            put(bucket.node);
            put(bucket.items.size() << 1 | bucket.strict);
            for (const Partial& partial : bucket.items) this->partial(key, partial);
        }
        if (key.decisions) decisions(key, *key.decisions);
    }

   private:
    [[gnu::noinline]] void put(uint64_t value) { put_varint(out, value); }  // push() is to have that in line
    void moment(int64_t at) { put(zigzag(static_cast<int64_t>(static_cast<uint64_t>(at) - static_cast<uint64_t>(time_)))); }
    void numbers(const Small& list, uint32_t base) {
        put(list.size());
        for (uint32_t i = 0; i < list.size(); ++i) put(static_cast<uint32_t>(list.data()[i] - base));
    }
    void partial(const Key& key, const Partial& partial) {
        moment(partial.start);
        put(partial.position);
        put(static_cast<uint32_t>(key.seq - partial.last));
        put(static_cast<uint64_t>(partial.passed) + 1);
        put(static_cast<uint64_t>(partial.left.size()) << 1 | partial.span);
        for (uint32_t i = 0; i < partial.left.size(); ++i) put(partial.left.data()[i]);
        numbers(partial.steps, key.kept.first);
    }
    void decisions(const Key& key, const Decisions& made) {
        for (const auto* list : {&made.skip, &made.done}) {
            put(list->size());
            for (auto [pattern, position] : *list) {
                put(pattern);
                put(position);
            }
        }
        put(made.held.size());
        for (const Held& held : made.held) {
            put(held.pattern);
            put(held.position);
            put(held.end);
            moment(held.start);
            moment(held.time);
            numbers(held.steps, key.kept.first);
        }
    }
    int64_t time_ = 0;
};

// Reads what Freezer wrote in the same process.
class Thaw {
   public:
    explicit Thaw(const uint8_t* at) : at_(at) {}

    void key(Key& key) {
        const uint64_t flags = get();
        time_ = unzigzag(get());
        key.deadline = flags & 1 ? moment() : INT64_MAX;
        key.queued = !(flags & 2) ? INT64_MAX : flags & 4 ? key.deadline : moment();
        key.seq = number();
        key.kept.first = number();
        if (flags & 8) {
            key.kept.before.time = unzigzag(get());
            key.kept.before.id = get();
            key.kept.before.instance = get();
        }
        const size_t size = get();
        key.kept.load(at_, size);
        at_ += size;
        key.buckets.resize(get());
        for (Bucket& bucket : key.buckets) {
            bucket.node = number();
            const uint64_t count = get();
            bucket.strict = count & 1;
            key.strict += bucket.strict;
            key.partials += static_cast<uint32_t>(count >> 1);
            bucket.items.resize(count >> 1);
            for (Partial& partial : bucket.items) this->partial(key, partial);
        }
        if (flags & 16) decisions(key, key.decided());
    }

   private:
    [[gnu::noinline]] uint64_t get() {
        uint64_t value;
        get_varint(at_, at_ + 10, value);
        return value;
    }
    uint32_t number() { return static_cast<uint32_t>(get()); }
    int64_t moment() { return static_cast<int64_t>(static_cast<uint64_t>(time_) + static_cast<uint64_t>(unzigzag(get()))); }
    void numbers(Small& list, uint32_t base) {
        for (uint32_t n = number(); n > 0; --n) list.push(number() + base);
    }
    void partial(Key& key, Partial& partial) {
        partial.start = moment();
        partial.position = get();
        partial.last = key.seq - number();
        partial.passed = static_cast<int64_t>(get() - 1);
        const uint64_t left = get();
        partial.span = left & 1;
        key.spans += partial.span;
        for (uint64_t n = left >> 1; n > 0; --n) partial.left.push(number());
        numbers(partial.steps, key.kept.first);
    }
    void decisions(const Key& key, Decisions& made) {
        for (auto* list : {&made.skip, &made.done})
            for (uint64_t n = get(); n > 0; --n) {
                const uint32_t pattern = number();
                list->emplace_back(pattern, get());
            }
        for (uint64_t n = get(); n > 0; --n) {
            Held held{};
            held.pattern = number();
            held.position = get();
            held.end = get();
            held.start = moment();
            held.time = moment();
            numbers(held.steps, key.kept.first);
            made.held.push_back(std::move(held));
        }
    }
    const uint8_t* at_;
    int64_t time_ = 0;
};

}  // namespace walle_pipeline
