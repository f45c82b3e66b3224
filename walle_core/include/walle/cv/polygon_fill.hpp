// Filled polygons: convex ones by their two flanks, any others by a sweep over active edges (even-odd rule).
#pragma once

#include <vector>

#include "walle/stop.hpp"

#include "walle/cv/canvas.hpp"

namespace walle { namespace cv { namespace {

struct Flank {
    int at, step;        // corner where the current edge ends, and the way round the polygon
    int64_t x, slope;
    int64_t until;       // row at which the edge ends
};

// Fills a convex polygon whose corners have `shift` fractional bits, with its outline.
inline void fill_convex(const Canvas& to, const Spot* v, int count, int line, int shift) {
    const int up = kFraction - shift;
    const int64_t half = (int64_t(1) << shift) >> 1;
    const bool smooth = line >= kAntialiased;
    int top = 0;
    Spot low = v[0], high = v[0];
    Spot before{v[count - 1].x * (int64_t(1) << up), v[count - 1].y * (int64_t(1) << up)};
    for (int i = 0; i < count; i++) {
        if (v[i].y < low.y) top = i;
        low = {std::min(low.x, v[i].x), std::min(low.y, v[i].y)};
        high = {std::max(high.x, v[i].x), std::max(high.y, v[i].y)};
        const Spot p{v[i].x * (int64_t(1) << up), v[i].y * (int64_t(1) << up)};
        if (line > 8) {
            smooth_line(to, before, p);
        } else if (shift == 0) {
            pixel_line(to, {before.x >> kFraction, before.y >> kFraction}, {p.x >> kFraction, p.y >> kFraction}, line);
        } else {
            fixed_line(to, before, p);
        }
        before = p;
    }
    const int64_t first = (low.y + half) >> shift, last = std::min((high.y + half) >> shift, to.height - 1);
    if (count < 3 || (high.x + half) >> shift < 0 || (high.y + half) >> shift < 0 ||
        (low.x + half) >> shift >= to.width || first >= to.height)
        return;
    Flank flanks[2] = {{top, 1, -kOne, 0, first}, {top, count - 1, -kOne, 0, first}};
    int remaining = count;
    walle_stop_watch watch;  // rows far above the picture are many
    for (int64_t y = first; y <= last; y++, watch.work(1)) {
        if (!smooth || y < last || y == first) {
            for (Flank& f : flanks) {
                if (y < f.until) continue;
                int from = f.at, next = (f.at + f.step) % count;
                while (remaining-- > 0) {
                    const int64_t row = (v[next].y + half) >> shift;
                    if (row > y) {
                        const int64_t start = v[from].x * (int64_t(1) << up), end = v[next].x * (int64_t(1) << up);
                        f.slope = ((end - start) * 2 + (row - y)) / (2 * (row - y));
                        f.until = row;
                        f.x = start;
                        f.at = next;
                        break;
                    }
                    from = next;
                    next = (next + f.step) % count;
                }
            }
        }
        if (remaining < 0) break;
        if (y >= 0) {
            const int64_t left = std::min(flanks[0].x, flanks[1].x), right = std::max(flanks[0].x, flanks[1].x);
            const int64_t x0 = (left + (smooth ? kOne - 1 : kHalf)) >> kFraction;
            const int64_t x1 = (right + (smooth ? 0 : kHalf)) >> kFraction;
            if (x1 >= 0 && x0 < to.width) to.span(y, x0, x1);
        }
        for (Flank& f : flanks) f.x += f.slope;
    }
}

struct Edge {
    int64_t top, bottom;  // rows: drawn in [top, bottom)
    int64_t x, slope;
};

// Draws the outline of one closed polygon and adds its edges.
inline void collect_edges(const Canvas& to, const Spot* v, int count, std::vector<Edge>& edges, int line, int shift,
                          Spot offset) {
    const int64_t up = int64_t(1) << (kFraction - shift), half = (int64_t(1) << shift) >> 1;
    auto placed = [&](const Spot& p) { return Spot{(p.x + offset.x) * up, (p.y + offset.y + half) >> shift}; };
    if (count <= 0) return;
    Spot a = placed(v[count - 1]);
    for (int i = 0; i < count; i++) {
        const Spot b = placed(v[i]);
        Spot from = a, until = b;
        if (line < kAntialiased) {
            Spot s{(a.x + kHalf) >> kFraction, a.y}, e{(b.x + kHalf) >> kFraction, b.y};
            pixel_line(to, s, e, line);
            if (!to.holds(s.x, s.y) || !to.holds(e.x, e.y)) {
                clip(to.width, to.height, s, e);
                if (s.y != e.y) {
                    from.y = s.y;
                    until.y = e.y;
                }
            }
            from.x = s.x * kOne;
            until.x = e.x * kOne;
        } else {
            smooth_line(to, {a.x, a.y * kOne}, {b.x, b.y * kOne});
        }
        if (a.y != b.y) {
            Edge edge{std::min(a.y, b.y), std::max(a.y, b.y), 0, (until.x - from.x) / (until.y - from.y)};
            const Spot& start = a.y < b.y ? from : until;
            edge.x = start.x + (edge.top - start.y) * edge.slope;
            edges.push_back(edge);
        }
        a = b;
    }
}

// Fills between the first and second, third and fourth, ... edge of each row.
inline void fill_edges(const Canvas& to, std::vector<Edge>& edges) {
    if (edges.size() < 2) return;
    int64_t bottom = edges[0].bottom, top = edges[0].top, left = edges[0].x, right = edges[0].x;
    for (const Edge& e : edges) {
        const int64_t end = e.x + (e.bottom - e.top) * e.slope;
        top = std::min(top, e.top);
        bottom = std::max(bottom, e.bottom);
        left = std::min({left, e.x, end});
        right = std::max({right, e.x, end});
    }
    if (bottom < 0 || top >= to.height || right < 0 || left >= (to.width << kFraction)) return;
    std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
        return a.top != b.top ? a.top < b.top : a.x != b.x ? a.x < b.x : a.slope < b.slope;
    });
    bottom = std::min(bottom, to.height);
    std::vector<Edge*> active;
    size_t next = 0;
    walle_stop_watch watch;
    for (int64_t y = edges[0].top; y < bottom; y++, watch.work(1)) {
        active.erase(std::remove_if(active.begin(), active.end(), [y](Edge* e) { return e->bottom == y; }),
                     active.end());
        size_t place = 0;
        for (; next < edges.size() && edges[next].top == y; next++) {
            while (place < active.size() && active[place]->x < edges[next].x) place++;
            active.insert(active.begin() + place++, &edges[next]);
        }
        for (size_t i = 0; i + 1 < active.size(); i += 2) {
            Edge *one = active[i], *other = active[i + 1];
            const int64_t x0 = (std::min(one->x, other->x) + kOne - 1) >> kFraction;
            const int64_t x1 = std::max(one->x, other->x) >> kFraction;
            if (x0 < to.width && x1 >= 0) to.span(y, x0, x1);
            one->x += one->slope;
            other->x += other->slope;
        }
        std::stable_sort(active.begin(), active.end(), [](Edge* a, Edge* b) { return a->x < b->x; });
    }
}

}}}  // namespace walle::cv
