// What the matcher keeps of one key, and what it finds.
#pragma once

#include <memory>

#include "kept.hpp"
#include "small.hpp"

namespace walle_pipeline {

struct Partial {
    int64_t start = 0;        // time of its first event
    uint64_t position = 0;    // of its first event among all events
    uint32_t last = 0;        // number, among the key's events, of the event that it took last
    int64_t passed = -1;      // time after its start up to which timeouts have been reported
    bool span = false;        // counted in its key's `spans`
    Small steps;              // numbers, among the kept events, of those that it took
    Small left;               // groups of its node that it has taken or lost
};

struct Bucket {
    uint32_t node;
    bool strict;  // counted in its key's `strict`
    std::vector<Partial> items;
};

struct Held {  // a match that waits for an earlier one of its pattern to be decided
    uint32_t pattern;
    uint64_t position, end;
    int64_t start, time;
    Small steps;
};

struct Decisions {  // few keys have any
    std::vector<std::pair<uint32_t, uint64_t>> skip;  // pattern -> no match may begin at or before this position
    std::vector<std::pair<uint32_t, uint64_t>> done;  // pattern, position of the first event of a match that it had
    std::vector<Held> held;
};

struct Key {
    std::vector<Bucket> buckets;  // by node
    Kept kept;
    std::unique_ptr<Decisions> decisions;
    int64_t deadline = INT64_MAX;
    uint32_t seq = 0, partials = 0, spans = 0, strict = 0;
    int64_t queued = INT64_MAX;  // deadline with which it lies in the queue

    bool decides() const { return decisions != nullptr; }
    bool holds() const { return decisions && !decisions->held.empty(); }
    bool idle() const { return partials == 0 && !holds(); }
    Decisions& decided() {
        if (!decisions) decisions = std::make_unique<Decisions>();
        return *decisions;
    }
};

struct Found {  // a match or, where `timeout`, a partial match whose time has passed
    uint32_t pattern, key;
    bool timeout;
    int64_t start, time;
    uint64_t position;
    std::string rows;               // the events, packed, relative to a Row of zeros
    std::vector<uint32_t> steps;    // which of them were taken
};

struct Limits {
    uint32_t partials = 4096;   // per key
    size_t kept = 1 << 20;      // bytes of events per key
};

struct Counters {
    uint64_t events = 0, matches = 0, timeouts = 0, cut = 0, ended = 0;
};

}  // namespace walle_pipeline
