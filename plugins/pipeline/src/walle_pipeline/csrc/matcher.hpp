// Partial matches per key, advanced by one event after the other.
#pragma once

#include <queue>

#include "keys.hpp"
#include "symbol.hpp"

namespace walle_pipeline {

class Matcher {
   public:
    Trie trie;
    Keys keys;
    std::vector<Found> found;
    Limits limits;
    Counters counters;
    uint64_t live = 0;  // partial matches

    // Advances everything of key `slot` by one event. `rest` is asked for only when the event is to be kept.
    template <class Rest>
    void push(uint32_t slot, uint32_t root, uint64_t position, Row row, Symbol symbol, Rest rest) {
        Key& key = keys[slot];
        if (key.deadline <= row.time) expire(slot, row.time);
        ++key.seq;
        moved_.clear();
        complete_.clear();
        if (key.partials) {
            if (key.strict == 0 && symbol.wait_count() < key.buckets.size()) {
                for (uint32_t i = 0; i < symbol.wait_count(); ++i)
                    if (Bucket* bucket = bucket_of(key, symbol.waits()[i])) advance(key, *bucket, symbol);
            } else {
                for (Bucket& bucket : key.buckets) advance(key, bucket, symbol);
            }
            for (uint32_t i = 0; i < symbol.forbid_count(); ++i)
                forbid(key, symbol.forbids()[2 * i], symbol.forbids()[2 * i + 1], symbol);
        }
        for (uint32_t i = 0; i < symbol.start_count(root); ++i) {
            moved_.emplace_back();
            moved_.back().first = symbol.starts(root)[i];
            moved_.back().second.start = row.time;
            moved_.back().second.position = position;
        }
        if (!moved_.empty() || key.spans) {
            row.rest = rest();
            const uint32_t number = key.kept.add(row);
            for (auto& [node, partial] : moved_) {
                partial.steps.push(number);
                partial.last = key.seq;
                arrive(key, node, std::move(partial), row.time);
            }
        }
        sweep(key);
        if (!complete_.empty()) decide(slot, row.time, position);
        if (key.holds()) release(slot, row.time);
        if (key.partials > limits.partials || key.kept.bytes.size() > limits.kept) shed(slot, row.time);
        tidy(slot);
    }

    // Ends what has waited too long at time `now`.
    void expire(uint32_t slot, int64_t now, bool all = false) {
        Key& key = keys[slot];
        key.deadline = INT64_MAX;
        for (Bucket& bucket : key.buckets) {
            const Node& node = trie.nodes[bucket.node];
            for (Partial& partial : bucket.items) {
                const int64_t elapsed = all ? INT64_MAX : now - partial.start;
                for (auto entry = after(node, partial.passed); entry != node.timeouts.end() && entry->within <= elapsed; ++entry) {
                    if (partial.left.has(entry->group) || trie.patterns[entry->pattern].added > partial.position) continue;
                    ++counters.timeouts;
                    report(slot, entry->pattern, true, partial.start, partial.start + entry->within, partial.position, partial.steps);
                }
                partial.passed = std::max(partial.passed, elapsed);
                if (all || node.alive == 0 || (node.horizon != INT64_MAX && now - partial.start >= node.horizon)) drop(key, bucket, partial);
                else key.deadline = std::min(key.deadline, due(bucket.node, partial, key.holds()));
            }
        }
        sweep(key);
        if (key.holds()) release(slot, now);
    }

    // The earliest time at which `expire` would do something; INT64_MAX if never.
    int64_t next_deadline() {
        while (!queue_.empty()) {
            const auto [at, slot] = queue_.top();
            if (!keys.used(slot)) {
                queue_.pop();
                continue;
            }
            Key& key = keys[slot];
            if (at == key.queued && at == key.deadline) return at;
            queue_.pop();
            if (at != key.queued) continue;  // it lies there a second time
            key.queued = INT64_MAX;
            queue(slot);
        }
        return INT64_MAX;
    }
    // Expires all keys whose deadline is at or before `now`; calls `closed(slot)` for those left with nothing.
    template <class Closed>
    void expire_all(int64_t now, Closed closed) {
        while (next_deadline() <= now) {
            const uint32_t slot = queue_.top().second;
            queue_.pop();
            keys[slot].queued = INT64_MAX;
            expire(slot, now);
            tidy(slot);
            if (keys[slot].idle()) closed(slot);
        }
    }

    // No event follows: every partial match ends, and matches that waited for one are decided.
    template <class Closed>
    void finish(Closed closed) {
        for (uint32_t slot = 0; slot < keys.slots(); ++slot) {
            if (!keys.used(slot) || keys[slot].idle()) continue;
            expire(slot, INT64_MAX, true);
            closed(slot);
        }
    }

    void queue(uint32_t slot) {
        Key& key = keys[slot];
        if (key.deadline >= key.queued) return;
        key.queued = key.deadline;
        queue_.emplace(key.deadline, slot);
    }

    // After patterns were removed: ends partial matches that lead nowhere; calls `closed(slot)` for keys left with nothing.
    template <class Closed>
    void purge(Closed closed) {
        for (uint32_t slot = 0; slot < keys.slots(); ++slot) {
            if (!keys.used(slot)) continue;
            Key& key = keys[slot];
            if (key.idle()) continue;
            for (Bucket& bucket : key.buckets)
                if (trie.nodes[bucket.node].alive == 0)
                    for (Partial& partial : bucket.items) drop(key, bucket, partial);
            sweep(key);
            key.deadline = INT64_MAX;
            set_deadline(key);
            queue(slot);
            if (key.idle()) closed(slot);
        }
    }

    void restore(uint32_t slot, uint32_t node, Partial&& partial) { place(keys[slot], node, std::move(partial)); }
    void restored(uint32_t slot) {
        set_deadline(keys[slot]);
        queue(slot);
    }

   private:
    void set_deadline(Key& key) {
        for (const Bucket& bucket : key.buckets)
            for (const Partial& partial : bucket.items)
                key.deadline = std::min(key.deadline, due(bucket.node, partial, key.holds()));
    }

    using Entry = std::pair<int64_t, uint32_t>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> queue_;  // one entry per key: its deadline or less
    std::vector<std::pair<uint32_t, Partial>> moved_;     // taken by this event: where to
    std::vector<std::pair<uint32_t, Partial>> complete_;  // pattern, its match
    std::vector<Hit> hits_;
    std::vector<uint32_t> dirty_;                         // nodes of dropped partial matches
    std::vector<std::vector<Partial>> spare_;             // emptied

    static std::vector<Hit>::const_iterator lower(const std::vector<Hit>& hits, uint32_t cond) {
        return std::lower_bound(hits.begin(), hits.end(), cond, [](const Hit& h, uint32_t c) { return h.cond < c; });
    }
    static std::vector<Timeout>::const_iterator after(const Node& node, int64_t passed) {
        return std::upper_bound(node.timeouts.begin(), node.timeouts.end(), passed,
                                [](int64_t p, const Timeout& t) { return p < t.within; });
    }

    // When a partial match must be looked at. One that is merely over may stay a little: many then go at once.
    int64_t due(uint32_t number, const Partial& partial, bool exact) const {
        const Brief& node = trie.briefs[number];
        int64_t wait = node.horizon;
        if (!exact && wait < INT64_MAX / 2) wait += wait / 8;
        if (node.timeouts) {
            const auto next = after(trie.nodes[number], partial.passed);
            if (next != trie.nodes[number].timeouts.end()) wait = next->within;
        }
        return wait >= INT64_MAX - partial.start ? INT64_MAX : partial.start + wait;
    }

    // Edges that the event satisfies, at most one per group: the first of its order that this mode allows.
    void hits(const Node& node, Symbol symbol) {
        hits_.clear();
        for (uint32_t i = 0; i < symbol.count(); ++i) {
            const uint32_t cond = symbol.conds()[i];
            for (auto at = lower(node.hits, cond); at != node.hits.end() && at->cond == cond; ++at) hits_.push_back(*at);
        }
        if (hits_.size() > 1) std::sort(hits_.begin(), hits_.end(), before);
    }

    static Bucket* bucket_of(Key& key, uint32_t node) {
        auto at = std::lower_bound(key.buckets.begin(), key.buckets.end(), node,
                                   [](const Bucket& b, uint32_t n) { return b.node < n; });
        return at != key.buckets.end() && at->node == node ? &*at : nullptr;
    }

    static bool exhausted(const Node& node, const Partial& partial) {
        if (partial.left.size() >= node.groups.size()) return true;
        if (partial.left.size() < node.alive) return false;
        for (uint32_t g = 0; g < node.groups.size(); ++g)
            if (node.groups[g].patterns && !partial.left.has(g)) return false;
        return true;
    }

    void advance(Key& key, Bucket& bucket, Symbol symbol) {
        const Node& node = trie.nodes[bucket.node];
        hits(node, symbol);
        if (hits_.empty() && !node.strict) return;
        for (Partial& partial : bucket.items) {
            if (partial.last == UINT32_MAX) continue;  // dropped
            const bool fresh = partial.last + 1 == key.seq;
            for (size_t h = 0; h < hits_.size();) {
                const uint32_t group = hits_[h].group;
                const Edge* taken = nullptr;
                for (; h < hits_.size() && hits_[h].group == group; ++h) {
                    const Edge& edge = node.groups[group].edges[hits_[h].edge];
                    if (taken == nullptr && (edge.mode != STRICT || fresh)) taken = &edge;
                }
                if (taken == nullptr || partial.left.has(group)) continue;
                moved_.emplace_back(taken->target, partial);
                if (taken->mode != ANY) partial.left.push(group);
            }
            if (node.strict || exhausted(node, partial)) {
                if (node.strict && hits_.empty()) ++counters.ended;
                drop(key, bucket, partial);
            }
        }
    }

    void forbid(Key& key, uint32_t number, uint32_t group, Symbol symbol) {
        Bucket* bucket = bucket_of(key, number);
        if (bucket == nullptr) return;
        const Node& node = trie.nodes[number];
        for (const Edge& edge : node.groups[group].edges)  // an event that completes the step is not before it
            if (edge.mode == ANY && std::find(symbol.conds(), symbol.conds() + symbol.count(), edge.cond) != symbol.conds() + symbol.count())
                return;
        for (Partial& partial : bucket->items) {
            if (partial.last == UINT32_MAX || partial.left.has(group)) continue;
            partial.left.push(group);
            ++counters.ended;
            if (exhausted(node, partial)) drop(key, *bucket, partial);
        }
    }

    void arrive(Key& key, uint32_t number, Partial&& partial, int64_t now) {
        const Brief& node = trie.briefs[number];
        if (node.accepts)
            for (uint32_t pattern : trie.nodes[number].accepts) complete_.emplace_back(pattern, partial);
        if (node.alive == 0) return;
        partial.left = Small();
        partial.passed = now > partial.start ? now - partial.start : -1;  // what is over by now was reported where it comes from
        place(key, number, std::move(partial));
    }

    void place(Key& key, uint32_t number, Partial&& partial) {
        const Brief& node = trie.briefs[number];
        auto at = std::lower_bound(key.buckets.begin(), key.buckets.end(), number,
                                   [](const Bucket& b, uint32_t n) { return b.node < n; });
        if (at == key.buckets.end() || at->node != number) {
            at = key.buckets.insert(at, Bucket{number, node.strict, {}});
            if (!spare_.empty()) {
                at->items = std::move(spare_.back());
                spare_.pop_back();
            }
            key.strict += node.strict;
        }
        key.deadline = std::min(key.deadline, due(number, partial, key.holds()));
        ++key.partials;
        ++live;
        partial.span = node.spans;
        key.spans += partial.span;
        at->items.push_back(std::move(partial));
    }

    void drop(Key& key, Bucket& bucket, Partial& partial) {
        if (partial.last == UINT32_MAX) return;
        partial.last = UINT32_MAX;
        --key.partials;
        --live;
        key.spans -= partial.span;
        if (dirty_.empty() || dirty_.back() != bucket.node) dirty_.push_back(bucket.node);
    }
    void sweep(Key& key) {
        for (uint32_t node : dirty_) {
            Bucket* bucket = bucket_of(key, node);
            if (bucket == nullptr) continue;
            auto& items = bucket->items;
            items.erase(std::remove_if(items.begin(), items.end(), [](const Partial& p) { return p.last == UINT32_MAX; }),
                        items.end());
            if (!items.empty()) continue;
            key.strict -= bucket->strict;
            if (spare_.size() < 64) spare_.push_back(std::move(items));
            key.buckets.erase(key.buckets.begin() + (bucket - key.buckets.data()));
        }
        dirty_.clear();
    }

    // Is a partial match of `pattern` undecided that began before `position`?
    bool earlier(Key& key, const Pattern& pattern, uint64_t position, int64_t now) const {
        for (auto [node, group] : pattern.groups) {
            const Bucket* bucket = bucket_of(key, node);
            if (bucket == nullptr) continue;
            bool strict = true;  // then only what took the latest event can still go this way
            for (const Edge& edge : trie.nodes[node].groups[group].edges) strict = strict && edge.mode == STRICT;
            for (const Partial& partial : bucket->items)
                if (partial.last != UINT32_MAX && !(strict && partial.last != key.seq) && partial.position < position && partial.position >= pattern.added &&
                    !partial.left.has(group) && !late(pattern, partial.start, now) && !skipped(key, pattern.id, partial.position))
                    return true;
        }
        return false;
    }
    static bool late(const Pattern& pattern, int64_t start, int64_t now) {
        return pattern.within != INT64_MAX && now - start >= pattern.within;
    }
    static bool skipped(const Key& key, uint32_t pattern, uint64_t position) {
        if (key.decisions)
            for (auto [p, until] : key.decisions->skip)
                if (p == pattern) return position <= until;
        return false;
    }

    void decide(uint32_t slot, int64_t now, uint64_t end) {
        Key& key = keys[slot];
        if (complete_.size() > 1)
            std::stable_sort(complete_.begin(), complete_.end(), [](const auto& a, const auto& b) {
                if (a.first != b.first) return a.first < b.first;
                if (a.second.position != b.second.position) return a.second.position < b.second.position;
                return a.second.steps.before(b.second.steps);
            });
        for (auto& [number, partial] : complete_) {
            const Pattern& pattern = trie.patterns[number];
            if (!pattern.live || partial.position < pattern.added) continue;
            if (late(pattern, partial.start, now)) continue;
            if (pattern.after == TO_NEXT) {
                const std::pair<uint32_t, uint64_t> entry{number, partial.position};
                auto& done = key.decided().done;
                if (std::find(done.begin(), done.end(), entry) != done.end()) continue;
                done.push_back(entry);
            } else if (pattern.after == PAST_LAST) {
                if (skipped(key, number, partial.position)) continue;
                if (earlier(key, pattern, partial.position, now)) {
                    key.decided().held.push_back(Held{number, partial.position, end, partial.start, now, partial.steps});
                    set_deadline(key);
                    continue;
                }
                skip_to(key, number, end);
            }
            ++counters.matches;
            report(slot, number, false, partial.start, now, partial.position, partial.steps);
        }
    }

    static void skip_to(Key& key, uint32_t pattern, uint64_t end) {
        auto& skip = key.decided().skip;
        for (auto& [p, until] : skip)
            if (p == pattern) {
                until = end;
                return;
            }
        skip.emplace_back(pattern, end);
    }

    void release(uint32_t slot, int64_t now) {
        Key& key = keys[slot];
        auto& waiting = key.decisions->held;
        for (bool again = true; again;) {
            again = false;
            for (size_t i = 0; i < waiting.size(); ++i) {
                const Held& held = waiting[i];
                const Pattern& pattern = trie.patterns[held.pattern];
                const bool over = !pattern.live || skipped(key, held.pattern, held.position);
                if (!over && (earlier(key, pattern, held.position, now) || earlier_held(waiting, held))) continue;
                if (!over) {
                    skip_to(key, held.pattern, held.end);
                    ++counters.matches;
                    report(slot, held.pattern, false, held.start, held.time, held.position, held.steps);
                }
                waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(i));
                again = true;
                break;
            }
        }
    }
    static bool earlier_held(const std::vector<Held>& waiting, const Held& than) {
        for (const Held& held : waiting)
            if (held.pattern == than.pattern && held.position < than.position) return true;
        return false;
    }

    void report(uint32_t slot, uint32_t pattern, bool timeout, int64_t start, int64_t time, uint64_t position, const Small& steps) {
        const Kept& kept = keys[slot].kept;
        Found made{pattern, slot, timeout, start, time, position, {}, {}};
        const uint32_t first = steps.data()[0], last = steps.data()[steps.size() - 1];
        const bool all = trie.patterns[pattern].span;
        const uint32_t until = all && timeout ? kept.first + kept.count - 1 : last;
        const uint8_t* end = reinterpret_cast<const uint8_t*>(kept.bytes.data()) + kept.bytes.size();
        Row row;
        Base base, before;
        uint32_t number;
        const uint8_t* at = kept.seek(first, number, base);
        size_t step = 0;
        while (number <= until) {
            if (!all && step < steps.size() && steps.data()[step] >= number + Kept::STRIDE)
                at = kept.seek(steps.data()[step], number, base);
            if (!get_row(at, end, base, row)) break;
            const uint32_t current = number++;
            const bool taken = step < steps.size() && steps.data()[step] == current;
            if (current < first || !(all || taken)) continue;
            if (taken) {
                made.steps.push_back(all ? current - first : static_cast<uint32_t>(step));
                ++step;
            }
            put_row(made.rows, before, row);
        }
        found.push_back(std::move(made));
    }

    // Cuts the oldest eighth of a key's partial matches, until they and their events are few enough.
    void shed(uint32_t slot, int64_t now) {
        Key& key = keys[slot];
        key.kept.rebase(oldest_row(key));
        while (key.partials && (key.partials > limits.partials || key.kept.bytes.size() > limits.kept)) {
            std::vector<uint64_t> positions;
            for (const Bucket& bucket : key.buckets)
                for (const Partial& partial : bucket.items) positions.push_back(partial.position);
            const size_t middle = positions.size() / 8;
            std::nth_element(positions.begin(), positions.begin() + static_cast<ptrdiff_t>(middle), positions.end());
            for (Bucket& bucket : key.buckets)
                for (Partial& partial : bucket.items)
                    if (partial.position <= positions[middle]) {
                        drop(key, bucket, partial);
                        ++counters.cut;
                    }
            sweep(key);
            if (key.holds()) release(slot, now);  // what was cut decides nothing any more
            key.kept.rebase(oldest_row(key));
        }
    }

    static uint32_t oldest_row(const Key& key) {  // that something refers to
        uint32_t keep = key.kept.first + key.kept.count;
        for (const Bucket& bucket : key.buckets)
            for (const Partial& partial : bucket.items) keep = std::min(keep, partial.steps.data()[0]);
        if (key.holds())
            for (const Held& held : key.decisions->held) keep = std::min(keep, held.steps.data()[0]);
        return keep;
    }

    void tidy(uint32_t slot) {
        Key& key = keys[slot];
        if (key.idle()) return;
        if (key.kept.count > 64 && (key.seq & 31) == 0) key.kept.trim(oldest_row(key));
        if (key.decisions && ((key.seq & 15) == 0 || key.decisions->skip.size() + key.decisions->done.size() > 64)) forget(key);
        queue(slot);
    }
    static void forget(Key& key) {  // decisions about matches that none alive could belong to
        uint64_t oldest = UINT64_MAX;
        for (const Bucket& bucket : key.buckets)
            for (const Partial& partial : bucket.items) oldest = std::min(oldest, partial.position);
        Decisions& decisions = *key.decisions;
        for (const Held& held : decisions.held) oldest = std::min(oldest, held.position);
        const auto gone = [&](const std::pair<uint32_t, uint64_t>& entry) { return entry.second < oldest; };
        decisions.skip.erase(std::remove_if(decisions.skip.begin(), decisions.skip.end(), gone), decisions.skip.end());
        decisions.done.erase(std::remove_if(decisions.done.begin(), decisions.done.end(), gone), decisions.done.end());
        if (decisions.skip.empty() && decisions.done.empty() && decisions.held.empty()) key.decisions.reset();
    }
};

}  // namespace walle_pipeline
