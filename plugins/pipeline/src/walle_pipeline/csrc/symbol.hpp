// Everything that follows from which conditions an event satisfies, in one short row of numbers, so that an event costs
// about as many cache misses with ten thousand patterns as with ten.
#pragma once

#include "trie.hpp"

namespace walle_pipeline {

struct Symbol {
    const uint32_t* at;  // counts of what follows: conditions, starts of root 0, of root 1, waiting nodes, forbids

    uint32_t count() const { return at[0]; }
    const uint32_t* conds() const { return at + 5; }
    uint32_t start_count(uint32_t root) const { return at[1 + root]; }
    const uint32_t* starts(uint32_t root) const { return conds() + at[0] + (root ? at[1] : 0); }  // nodes that it leads to
    uint32_t wait_count() const { return at[3]; }
    const uint32_t* waits() const { return conds() + at[0] + at[1] + at[2]; }  // nodes from which it may lead on, ascending
    uint32_t forbid_count() const { return at[4]; }
    const uint32_t* forbids() const { return waits() + at[3]; }  // (node, group): what it ends
};

// Appends to `pool` what an event with these conditions means; returns where it begins.
inline size_t compile_symbol(const Trie& trie, const uint32_t* conds, size_t n, std::vector<uint32_t>& pool) {
    const size_t begin = pool.size();
    pool.resize(begin + 5);
    pool.insert(pool.end(), conds, conds + n);
    pool[begin] = static_cast<uint32_t>(n);
    for (uint32_t root = 0; root < 2; ++root) {
        std::vector<Hit> hits;
        for (size_t i = 0; i < n; ++i)
            if (conds[i] < trie.starts[root].size())
                hits.insert(hits.end(), trie.starts[root][conds[i]].begin(), trie.starts[root][conds[i]].end());
        std::sort(hits.begin(), hits.end(), before);
        for (size_t h = 0; h < hits.size(); ++h) {
            if (h > 0 && hits[h].group == hits[h - 1].group) continue;
            pool.push_back(trie.nodes[root].groups[hits[h].group].edges[hits[h].edge].target);
            ++pool[begin + 1 + root];
        }
    }
    std::vector<uint32_t> nodes;
    for (size_t i = 0; i < n; ++i)
        if (conds[i] < trie.waits.size())
            for (auto [node, group] : trie.waits[conds[i]]) nodes.push_back(node);
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    pool.insert(pool.end(), nodes.begin(), nodes.end());
    pool[begin + 3] = static_cast<uint32_t>(nodes.size());
    for (size_t i = 0; i < n; ++i)
        if (conds[i] < trie.forbidden.size())
            for (auto [node, group] : trie.forbidden[conds[i]]) {
                pool.push_back(node);
                pool.push_back(group);
                ++pool[begin + 4];
            }
    return begin;
}

}  // namespace walle_pipeline
