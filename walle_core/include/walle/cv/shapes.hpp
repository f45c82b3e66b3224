// Thick lines, circles, elliptic arcs and polylines, made of lines and filled polygons.
#pragma once

#include "walle/cv/polygon_fill.hpp"

namespace walle { namespace cv { namespace {

inline int64_t rounded(double v) { return int64_t(std::nearbyint(v)); }

// Bresenham's circle around a whole pixel.
inline void pixel_circle(const Canvas& to, int64_t cx, int64_t cy, int64_t radius, bool fill) {
    int64_t error = 0, dx = radius, dy = 0, plus = 1, minus = 2 * radius - 1;
    auto rows = [&](int64_t across, int64_t down) {
        for (int64_t y : {cy - down, cy + down}) {
            if (fill) {
                to.span(y, cx - across, cx + across);
            } else {
                to.put(cx - across, y);
                to.put(cx + across, y);
            }
        }
    };
    while (dx >= dy) {
        const bool seen = cx - dx < to.width && cx + dx >= 0 && cy - dx < to.height && cy + dx >= 0;
        if (seen) {
            rows(dx, dy);
            if (cx - dy < to.width && cx + dy >= 0) rows(dy, dx);
        }
        dy++;
        error += plus;
        plus += 2;
        if (error > 0) {
            error -= minus;
            dx--;
            minus -= 2;
        }
    }
}

// Sines of whole degrees with seven decimals: the corners of arcs are rounded from these.
inline double sine(int degrees) {
    degrees %= 360;
    if (degrees < 0) degrees += 360;
    return double(float(std::nearbyint(std::sin(degrees * 3.14159265358979323846 / 180) * 1e7) / 1e7));
}
inline double cosine(int degrees) { return sine(450 - degrees); }

// Corners of an elliptic arc every `delta` degrees; the last one is at `end`.
inline std::vector<std::pair<double, double>> arc(double cx, double cy, double width, double height, int angle,
                                                  int start, int end, int delta) {
    angle = angle % 360;
    if (start > end) std::swap(start, end);
    while (start < 0) start += 360, end += 360;
    while (end > 360) start -= 360, end -= 360;
    if (end - start > 360) start = 0, end = 360;
    const float ca = float(cosine(angle)), sa = float(sine(angle));
    std::vector<std::pair<double, double>> corners;
    for (int i = start; i < end + delta; i += delta) {
        const int at = std::min(i, end);
        const double x = width * cosine(at), y = height * sine(at);
        corners.emplace_back(cx + x * ca - y * sa, cy + x * sa + y * ca);
    }
    if (corners.size() == 1) corners.assign(2, {cx, cy});
    return corners;
}

inline void polyline(const Canvas& to, const Spot* v, int count, bool closed, int thickness, int line, int shift);

// An elliptic arc around a centre in fixed point; a negative thickness fills it, to the centre unless it is whole.
inline void ellipse(const Canvas& to, Spot centre, int64_t width, int64_t height, int angle, int start, int end,
                    int thickness, int line) {
    width = std::abs(width);
    height = std::abs(height);
    const int64_t size = (std::max(width, height) + kHalf) >> kFraction;
    const int delta = size < 3 ? 90 : size < 10 ? 30 : size < 15 ? 18 : 5;
    std::vector<Spot> v;
    for (const auto& c : arc(double(centre.x), double(centre.y), double(width), double(height), angle, start, end,
                             delta)) {
        Spot p{rounded(c.first / double(kOne)) * kOne, rounded(c.second / double(kOne)) * kOne};
        p.x += rounded(c.first - double(p.x));
        p.y += rounded(c.second - double(p.y));
        if (v.empty() || !(p == v.back())) v.push_back(p);
    }
    if (v.size() <= 1) v.assign(2, centre);
    if (thickness >= 0) {
        polyline(to, v.data(), int(v.size()), false, thickness, line, kFraction);
    } else if (end - start >= 360) {
        fill_convex(to, v.data(), int(v.size()), line, kFraction);
    } else {
        v.push_back(centre);
        std::vector<Edge> edges;
        collect_edges(to, v.data(), int(v.size()), edges, line, kFraction, {0, 0});
        fill_edges(to, edges);
    }
}

// A line with round ends where `caps` has bit 1 (start) and bit 2 (end).
inline void thick_line(const Canvas& to, Spot a, Spot b, int thickness, int line, int caps, int shift) {
    const int64_t up = int64_t(1) << (kFraction - shift);
    if (thickness > 1 && shift == 0) {  // what is farther away than the thickness is cut off, at a whole pixel
        const int64_t t = thickness;
        a = {a.x + t, a.y + t};
        b = {b.x + t, b.y + t};
        if (!clip(to.width + 2 * t, to.height + 2 * t, a, b)) return;
        a = {a.x - t, a.y - t};
        b = {b.x - t, b.y - t};
    }
    a = {a.x * up, a.y * up};
    b = {b.x * up, b.y * up};
    if (thickness <= 1) {
        if (line >= kAntialiased) {
            smooth_line(to, a, b);
        } else if (shift && (line == 1 || line == 4)) {
            fixed_line(to, a, b);
        } else {
            pixel_line(to, {(a.x + kHalf) >> kFraction, (a.y + kHalf) >> kFraction},
                       {(b.x + kHalf) >> kFraction, (b.y + kHalf) >> kFraction}, line);
        }
        return;
    }
    const double dx = double(a.x - b.x) / double(kOne), dy = double(b.y - a.y) / double(kOne);
    const double length2 = dx * dx + dy * dy;
    const int64_t half = int64_t(thickness) << (kFraction - 1);
    if (length2 > 2.220446049250313e-16) {
        const double r = (double(half) + (thickness & 1) * double(kOne) * 0.5) / std::sqrt(length2);
        const Spot d{rounded(dy * r), rounded(dx * r)};
        const Spot corners[4] = {{a.x + d.x, a.y + d.y}, {a.x - d.x, a.y - d.y}, {b.x - d.x, b.y - d.y},
                                 {b.x + d.x, b.y + d.y}};
        fill_convex(to, corners, 4, line, kFraction);
    }
    for (int end = 0; end < 2; end++) {
        if (!(caps & (end + 1))) continue;
        const Spot p = end ? b : a;
        if (line < kAntialiased) {
            pixel_circle(to, (p.x + kHalf) >> kFraction, (p.y + kHalf) >> kFraction, (half + kHalf) >> kFraction, true);
        } else {
            ellipse(to, p, half, half, 0, 0, 360, -1, line);
        }
    }
}

inline void polyline(const Canvas& to, const Spot* v, int count, bool closed, int thickness, int line, int shift) {
    if (count <= 0) return;
    Spot from = v[closed ? count - 1 : 0];
    int caps = closed ? 2 : 3;
    for (int i = closed ? 0 : 1; i < count; i++) {
        thick_line(to, from, v[i], thickness, line, caps, shift);
        from = v[i];
        caps = 2;
    }
}

}}}  // namespace walle::cv
