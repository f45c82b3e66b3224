// Convex hulls (Sklansky's scan over each quarter) and what is measured on them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace walle { namespace cv { namespace {

template <class T> struct P2 {
    T x, y;
    bool operator==(const P2& o) const { return x == o.x && y == o.y; }
};

template <class T> int sign(T v) { return (v > 0) - (v < 0); }

// The convex chain through points[start], ..., points[end]; `ahead` is the sign of dy along it, `turn` of its bends.
template <class T>
std::vector<int> convex_chain(const std::vector<const P2<T>*>& points, int start, int end, int ahead, int turn) {
    if (start == end || *points[size_t(start)] == *points[size_t(end)]) return {start};
    const int step = end > start ? 1 : -1;
    std::vector<int> chain{start, start + step};
    int next = start + 2 * step;
    // `next` is a candidate that may lie one behind the end
    while (next != end + step) {
        const int current = chain.back(), before = chain[chain.size() - 2];
        const P2<T>&b = *points[size_t(before)], &c = *points[size_t(current)], &n = *points[size_t(next)];
        if (sign(n.y - c.y) == ahead) {
            next += step;
            continue;
        }
        double ax = double(c.x) - double(b.x), ay = double(c.y) - double(b.y);
        double bx = double(n.x) - double(c.x), by = double(n.y) - double(c.y);
        int bend;
        if (std::is_integral<T>::value) {
            bend = sign(int64_t(ay) * int64_t(bx) - int64_t(ax) * int64_t(by));
        } else {
            auto unit = [](double& x, double& y) {  // directions as float, as the hull of floats is defined
                const float fx = float(x), fy = float(y);
                const double length = std::sqrt(double(fx) * fx + double(fy) * fy);
                const double scale = length > 2.220446049250313e-16 ? 1 / length : 0;
                x = float(fx * scale);
                y = float(fy * scale);
            };
            unit(ax, ay);
            unit(bx, by);
            bend = sign(ay * bx - ax * by);
        }
        if (bend == turn && (ax != 0 || ay != 0)) {
            chain.push_back(next);
            next += step;
        } else if (chain.size() == 2) {
            chain[1] = next;
            next += step;
        } else {
            chain.pop_back();
        }
    }
    return chain;
}

// Indices of the hull's corners, counter-clockwise in a picture whose y points down unless `clockwise`.
template <class T> std::vector<int> convex_hull(const P2<T>* data, int count, bool clockwise, bool as_points) {
    std::vector<const P2<T>*> sorted;
    for (int i = 0; i < count; i++) sorted.push_back(data + i);
    std::sort(sorted.begin(), sorted.end(), [](const P2<T>* a, const P2<T>* b) {
        return a->x != b->x ? a->x < b->x : a->y != b->y ? a->y < b->y : a < b;
    });
    if (*sorted.front() == *sorted.back()) return {0};
    int low = 0, high = 0;
    for (int i = 1; i < count; i++) {
        if (sorted[size_t(i)]->y < sorted[size_t(low)]->y) low = i;
        if (sorted[size_t(i)]->y > sorted[size_t(high)]->y) high = i;
    }
    auto one = convex_chain(sorted, 0, high, -1, 1), other = convex_chain(sorted, count - 1, high, -1, -1);
    if (!clockwise) std::swap(one, other);
    std::vector<int> hull(one.begin(), one.end() - 1);
    hull.insert(hull.end(), other.rbegin(), other.rend() - 1);
    const int stop = other.size() > 2 ? other[1] : one.size() > 2 ? one[one.size() - 2] : -1;
    one = convex_chain(sorted, 0, low, 1, -1);
    other = convex_chain(sorted, count - 1, low, 1, 1);
    if (clockwise) std::swap(one, other);
    if (stop >= 0) {
        const int check = one.size() > 2 ? one[1] : one.size() + other.size() > 2 ? other[2 - one.size()] : -1;
        if (check == stop || (check >= 0 && *sorted[size_t(check)] == *sorted[size_t(stop)])) {  // all on one line
            one.resize(std::min<size_t>(one.size(), 2));
            other.resize(std::min<size_t>(other.size(), 2));
        }
    }
    hull.insert(hull.end(), one.begin(), one.end() - 1);
    hull.insert(hull.end(), other.rbegin(), other.rend() - 1);
    const int n = int(hull.size());
    if (!as_points) {  // of equal points, the one that keeps the indices in order
        auto at = [&](int i) { return sorted[size_t(i)]; };
        for (int i = 0; i < n; i++) {
            const auto before = at(hull[size_t((i ? i : n) - 1)]), after = at(hull[size_t((i + 1) % n)]);
            auto fits = [&](const P2<T>* p) { return (before < p && p < after) || (before > p && p > after); };
            if (fits(at(hull[size_t(i)]))) continue;
            for (int j = hull[size_t(i)] + 1; j < count && *at(hull[size_t(i)]) == *at(j); j++) {
                if (fits(at(j))) {
                    hull[size_t(i)] = j;
                    break;
                }
            }
        }
    }
    for (int& i : hull) i = int(sorted[size_t(i)] - data);
    if (n >= 3) {  // begin where the indices ascend or descend all round, if they do
        int least = 0, most = 0, rises = 0;
        for (int i = 1; i < n; i++) {
            rises += hull[size_t(i - 1)] < hull[size_t(i)];
            if (rises > 1 && rises <= i - 2) break;
            if (hull[size_t(i)] < hull[size_t(least)]) least = i;
            if (hull[size_t(i)] > hull[size_t(most)]) most = i;
        }
        const int apart = std::abs(most - least);
        if ((apart == 1 || apart == n - 1) && (rises <= 1 || rises >= n - 2)) {
            const bool ascending = (most + 1) % n == least;
            std::vector<int> turned(hull);
            std::rotate(turned.begin(), turned.begin() + (ascending ? least : most), turned.end());
            bool monotone = true;
            for (int i = 0; i + 1 < n; i++) monotone &= ascending == (turned[size_t(i)] < turned[size_t(i + 1)]);
            if (monotone) hull = turned;
        }
    }
    return hull;
}

template <class T> bool is_convex(const P2<T>* p, int n) {
    int seen = 0;
    for (int i = 0; i < n; i++) {
        const P2<T>&a = p[(i + n - 2) % n], &b = p[(i + n - 1) % n], &c = p[i];
        const T one = (c.y - b.y) * (b.x - a.x), other = (c.x - b.x) * (b.y - a.y);
        seen |= one > other ? 1 : one < other ? 2 : 3;
        if (seen == 3) return false;
    }
    return true;
}

// The rectangle of least area around a hull: centre x, y, width, height, angle in degrees within [-90, 0).
// One side of it lies on a side of the hull (Freeman and Shapira, 1975).
inline void least_rectangle(const P2<double>* hull, int n, double* out) {
    double best = -1;
    const double degrees = 57.29577951308232;
    for (int i = 0; i < (n > 2 ? n : 1); i++) {
        double dx = hull[(i + 1) % n].x - hull[i].x, dy = hull[(i + 1) % n].y - hull[i].y;
        if (n > 1 && dx == 0 && dy == 0) continue;
        while (!(dx >= 0 && dy < 0)) {  // a quarter turn keeps the rectangle
            if (dx == 0 && dy == 0) dy = -1;
            else {
                const double x = dx;
                dx = dy;
                dy = -x;
            }
        }
        const double length = std::hypot(dx, dy), c = dx / length, s = dy / length;
        double u0 = INFINITY, u1 = -INFINITY, v0 = INFINITY, v1 = -INFINITY;
        for (int j = 0; j < n; j++) {
            const double u = hull[j].x * c + hull[j].y * s, v = hull[j].y * c - hull[j].x * s;
            u0 = std::min(u0, u), u1 = std::max(u1, u), v0 = std::min(v0, v), v1 = std::max(v1, v);
        }
        const double area = (u1 - u0) * (v1 - v0);
        if (best >= 0 && area >= best) continue;
        best = area;
        const double u = (u0 + u1) / 2, v = (v0 + v1) / 2;
        const double result[5] = {u * c - v * s, u * s + v * c, u1 - u0, v1 - v0, std::atan2(s, c) * degrees};
        std::copy(result, result + 5, out);
    }
}

// The least circle around points (Welzl, 1991, as three nested loops): centre x, y, radius.
inline void least_circle(std::vector<P2<double>> p, double* out) {
    uint64_t state = 88172645463325252ull;  // any order gives the same circle; a shuffled one gives it in linear time
    for (size_t i = p.size(); i > 1; i--) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        std::swap(p[i - 1], p[state % i]);
    }
    double x = p[0].x, y = p[0].y, r = 0;
    auto outside = [&](const P2<double>& q) { return std::hypot(q.x - x, q.y - y) > r * (1 + 1e-12) + 1e-12; };
    auto two = [&](const P2<double>& a, const P2<double>& b) {
        x = (a.x + b.x) / 2, y = (a.y + b.y) / 2, r = std::hypot(a.x - b.x, a.y - b.y) / 2;
    };
    auto three = [&](const P2<double>& a, const P2<double>& b, const P2<double>& c) {
        const double bx = b.x - a.x, by = b.y - a.y, cx = c.x - a.x, cy = c.y - a.y, d = 2 * (bx * cy - by * cx);
        if (d == 0) return;
        const double ux = (cy * (bx * bx + by * by) - by * (cx * cx + cy * cy)) / d;
        const double uy = (bx * (cx * cx + cy * cy) - cx * (bx * bx + by * by)) / d;
        x = a.x + ux, y = a.y + uy, r = std::hypot(ux, uy);
    };
    for (size_t i = 1; i < p.size(); i++) {
        if (!outside(p[i])) continue;
        x = p[i].x, y = p[i].y, r = 0;
        for (size_t j = 0; j < i; j++) {
            if (!outside(p[j])) continue;
            two(p[i], p[j]);
            for (size_t k = 0; k < j; k++)
                if (outside(p[k])) three(p[i], p[j], p[k]);
        }
    }
    out[0] = x, out[1] = y, out[2] = r;
}

}}}  // namespace walle::cv
