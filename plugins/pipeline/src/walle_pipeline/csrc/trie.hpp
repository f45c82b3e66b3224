// All patterns of all tasks in one structure. A node stands for "the event of this step was the last one taken"; patterns
// that begin with the same steps share the nodes of these steps. From the first repeat or optional step on, the rest of
// a pattern is a small graph of its own, shared only by patterns with that same rest.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "packed.hpp"

namespace walle_pipeline {

enum Mode : uint8_t { STRICT = 0, SKIP = 1, ANY = 2 };                 // next, followed by, followed by any
enum AfterMatch : uint8_t { PAST_LAST = 0, TO_NEXT = 1, NO_SKIP = 2 };  // what a match does to other matches

// A pattern as its author's side compiles it. Position 0 is the start; exits go to later positions or to the same one.
struct Exit {
    uint32_t cond, target;
    uint8_t mode;
};
struct Position {
    std::vector<Exit> exits;         // in order of preference: an event is taken by the first that it satisfies
    std::vector<uint32_t> forbids;   // an event that satisfies one of these, and no exit, ends the partial match
};
struct Pattern {
    uint32_t id = 0;
    int64_t within = 0;  // a match's last event is less than this many milliseconds after its first
    uint8_t after = PAST_LAST;
    bool span = false, timeouts = false, live = false;
    uint64_t added = 0;  // position of the first event that may begin a match
    std::vector<uint32_t> nodes;
    std::vector<std::pair<uint32_t, uint32_t>> groups;  // (node, group) on the way
};

struct Edge {
    uint32_t cond, target;
    uint8_t mode;
};
struct Group {  // the ways on from a node that compete for an event: those of one pattern, or of several alike
    std::vector<Edge> edges;
    std::vector<uint32_t> forbids;
    uint32_t patterns = 0;  // that go this way
};
struct Hit {
    uint32_t cond, group, edge;
};
inline bool before(const Hit& a, const Hit& b) { return a.group != b.group ? a.group < b.group : a.edge < b.edge; }
struct Timeout {
    int64_t within;
    uint32_t pattern, group;
};
struct Node {
    std::vector<Group> groups;
    std::unordered_map<std::string, uint32_t> by_spec;                      // description -> group
    std::unordered_map<std::string, std::vector<uint32_t>> tails;           // description of a rest -> its nodes
    std::vector<Hit> hits;                                                  // by cond
    std::vector<uint32_t> accepts;                                          // patterns complete here
    std::vector<Timeout> timeouts;                                          // by within
    int64_t horizon = 0;                                                    // the longest `within` through this node
    uint32_t alive = 0, spans = 0;                                          // groups with patterns; patterns with span
    bool strict = true;                                                     // every edge is STRICT
};

struct Brief {  // what most events need of a node
    int64_t horizon;
    uint32_t alive;
    bool strict, spans, accepts, timeouts;
};

class Trie {
   public:
    std::vector<Brief> briefs{2};
    std::vector<Node> nodes{2};  // 0: sequences of a key; 1: sequences of one page instance of a key
    std::vector<Pattern> patterns;
    std::vector<std::vector<std::pair<uint32_t, uint32_t>>> waits, forbidden;  // cond -> (node, group)
    std::vector<std::vector<Hit>> starts[2];  // root -> cond -> its ways on

    // Adds `pattern` with its positions; `paged` chooses the root. Its id is the index in `patterns`.
    uint32_t add(Pattern pattern, const std::vector<Position>& positions, bool paged) {
        pattern.id = static_cast<uint32_t>(patterns.size());
        pattern.live = true;
        uint32_t at = paged ? 1 : 0, position = 0;
        std::vector<uint32_t> of(positions.size(), UINT32_MAX);
        of[0] = at;
        while (positions[position].exits.size() == 1 && positions[position].exits[0].target != position) {
            const Exit& exit = positions[position].exits[0];
            const uint32_t group = group_of(at, positions, position, std::string());
            if (nodes[at].groups[group].edges.empty()) {
                const uint32_t made = node();
                link(at, group, Edge{exit.cond, made, exit.mode});
            }
            pattern.groups.emplace_back(at, group);
            at = nodes[at].groups[group].edges[0].target;
            position = exit.target;
            of[position] = at;
            pattern.nodes.push_back(at);
        }
        if (!positions[position].exits.empty()) tail(pattern, positions, position, at, of);
        finish(pattern, of.back());
        briefs.resize(nodes.size());
        for (uint32_t node : pattern.nodes) brief(node);
        patterns.push_back(std::move(pattern));
        return patterns.back().id;
    }

    // The pattern matches no more. Nodes that only it used keep their number, so that partial matches stay valid.
    void remove(uint32_t id) {
        Pattern& pattern = patterns[id];
        if (!pattern.live) return;
        pattern.live = false;
        for (auto [at, group] : pattern.groups)
            if (--nodes[at].groups[group].patterns == 0) {
                --nodes[at].alive;
                unlink(at, group);
            }
        for (uint32_t at : pattern.nodes) {
            auto& timeouts = nodes[at].timeouts;
            timeouts.erase(std::remove_if(timeouts.begin(), timeouts.end(), [&](const Timeout& t) { return t.pattern == id; }),
                           timeouts.end());
            if (pattern.span) --nodes[at].spans;
            auto& accepts = nodes[at].accepts;
            accepts.erase(std::remove(accepts.begin(), accepts.end(), id), accepts.end());
        }
        for (uint32_t node : pattern.nodes) nodes[node].horizon = 0;
        for (const Pattern& other : patterns)
            if (other.live)
                for (auto [node, group] : other.groups)
                    if (node >= 2) nodes[node].horizon = std::max(nodes[node].horizon, other.within);
        for (uint32_t node : pattern.nodes) brief(node);
    }

    size_t live_nodes() const {
        size_t count = 0;
        for (size_t i = 2; i < nodes.size(); ++i) count += nodes[i].alive || !nodes[i].accepts.empty();
        return count;
    }

   private:
    void brief(uint32_t at) {
        const Node& n = nodes[at];
        briefs[at] = Brief{n.horizon, n.alive, n.strict, n.spans > 0, !n.accepts.empty(), !n.timeouts.empty()};
    }

    static std::string describe(const std::vector<Position>& positions, uint32_t first, uint32_t last) {
        std::string text;
        for (uint32_t p = first; p <= last; ++p) {
            put_varint(text, positions[p].exits.size());
            for (const Exit& e : positions[p].exits) {
                put_varint(text, e.cond);
                put_varint(text, e.mode);
                put_varint(text, first == last ? 0 : e.target - first);
            }
            put_varint(text, positions[p].forbids.size());
            for (uint32_t cond : positions[p].forbids) put_varint(text, cond);
        }
        return text;
    }

    uint32_t node() {
        nodes.emplace_back();
        return static_cast<uint32_t>(nodes.size() - 1);
    }

    uint32_t group_of(uint32_t at, const std::vector<Position>& positions, uint32_t position, const std::string& tail) {
        const std::string spec = describe(positions, position, position) + tail;
        Node& n = nodes[at];
        auto [found, fresh] = n.by_spec.try_emplace(spec, static_cast<uint32_t>(n.groups.size()));
        if (fresh) {
            n.groups.emplace_back();
            n.groups.back().forbids = positions[position].forbids;
        }
        const uint32_t group = found->second;
        if (n.groups[group].patterns++ == 0) {
            ++n.alive;
            relink(at, group);
        }
        return group;
    }

    void tail(Pattern& pattern, const std::vector<Position>& positions, uint32_t first, uint32_t at, std::vector<uint32_t>& of) {
        const uint32_t last = static_cast<uint32_t>(positions.size() - 1);
        const std::string text = describe(positions, first, last) + "*";
        const bool fresh = nodes[at].tails.find(text) == nodes[at].tails.end();
        // A loop on the first of them leads to a node of its own: `at` may complete patterns that do not repeat.
        bool loops = false;
        for (const Exit& e : positions[first].exits) loops = loops || e.target == first;
        const uint32_t begin = loops ? first : first + 1;
        if (fresh) {
            std::vector<uint32_t> members;
            for (uint32_t p = begin; p <= last; ++p) members.push_back(node());
            nodes[at].tails[text] = members;
        }
        const std::vector<uint32_t> members = nodes[at].tails[text];
        for (uint32_t p = begin; p <= last; ++p) {
            of[p] = members[p - begin];
            pattern.nodes.push_back(of[p]);
        }
        way_on(pattern, positions, first, at, text, of);
        for (uint32_t p = begin; p < last; ++p) way_on(pattern, positions, p, of[p], "*", of);
    }

    void way_on(Pattern& pattern, const std::vector<Position>& positions, uint32_t position, uint32_t at,
                const std::string& text, const std::vector<uint32_t>& of) {
        const uint32_t group = group_of(at, positions, position, text);
        if (nodes[at].groups[group].edges.empty())
            for (const Exit& e : positions[position].exits) link(at, group, Edge{e.cond, of[e.target], e.mode});
        pattern.groups.emplace_back(at, group);
    }

    void link(uint32_t at, uint32_t group, Edge edge) {
        nodes[at].groups[group].edges.push_back(edge);
        index(at, group, static_cast<uint32_t>(nodes[at].groups[group].edges.size() - 1));
    }

    void index(uint32_t at, uint32_t group, uint32_t number) {
        Node& n = nodes[at];
        const Edge& edge = n.groups[group].edges[number];
        const Hit hit{edge.cond, group, number};
        if (at < 2) {
            if (starts[at].size() <= edge.cond) starts[at].resize(edge.cond + 1);
            starts[at][edge.cond].push_back(hit);
            return;
        }
        n.hits.insert(std::upper_bound(n.hits.begin(), n.hits.end(), hit,
                                       [](const Hit& a, const Hit& b) { return a.cond < b.cond; }), hit);
        if (edge.mode != STRICT) n.strict = false;
        if (waits.size() <= edge.cond) waits.resize(edge.cond + 1);
        waits[edge.cond].emplace_back(at, group);
    }

    void relink(uint32_t at, uint32_t group) {  // a group that had no pattern left, or has none yet
        for (uint32_t e = 0; e < nodes[at].groups[group].edges.size(); ++e) index(at, group, e);
        if (at < 2) return;
        for (uint32_t cond : nodes[at].groups[group].forbids) {
            if (forbidden.size() <= cond) forbidden.resize(cond + 1);
            forbidden[cond].emplace_back(at, group);
        }
    }

    void unlink(uint32_t at, uint32_t group) {
        Node& n = nodes[at];
        if (at < 2) {
            for (const Edge& e : n.groups[group].edges) {
                auto& hits = starts[at][e.cond];
                hits.erase(std::remove_if(hits.begin(), hits.end(), [&](const Hit& h) { return h.group == group; }), hits.end());
            }
            return;
        }
        const auto gone = [&](const std::pair<uint32_t, uint32_t>& w) { return w.first == at && w.second == group; };
        for (const Edge& e : n.groups[group].edges)
            waits[e.cond].erase(std::remove_if(waits[e.cond].begin(), waits[e.cond].end(), gone), waits[e.cond].end());
        for (uint32_t cond : n.groups[group].forbids)
            forbidden[cond].erase(std::remove_if(forbidden[cond].begin(), forbidden[cond].end(), gone), forbidden[cond].end());
        n.hits.erase(std::remove_if(n.hits.begin(), n.hits.end(), [&](const Hit& h) { return h.group == group; }), n.hits.end());
        n.strict = true;
        for (const Hit& h : n.hits) n.strict = n.strict && n.groups[h.group].edges[h.edge].mode == STRICT;
    }

    void finish(Pattern& pattern, uint32_t accept) {
        nodes[accept].accepts.push_back(pattern.id);
        for (auto [at, group] : pattern.groups) {
            if (at < 2) continue;
            Node& n = nodes[at];
            n.horizon = std::max(n.horizon, pattern.within);
            if (!pattern.timeouts) continue;
            const Timeout entry{pattern.within, pattern.id, group};
            n.timeouts.insert(std::upper_bound(n.timeouts.begin(), n.timeouts.end(), entry,
                                               [](const Timeout& a, const Timeout& b) { return a.within < b.within; }), entry);
        }
        if (pattern.span)
            for (uint32_t at : pattern.nodes) ++nodes[at].spans;
    }
};

}  // namespace walle_pipeline
