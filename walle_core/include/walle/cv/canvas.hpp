// The image that drawing writes to, and lines one pixel wide on it.
//
// Coordinates in fixed point have 16 fractional bits; pixel centres lie at whole numbers. The arithmetic (rounding,
// clipping, order of writes) is OpenCV's, as results are compared bit by bit.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace walle { namespace cv { namespace {

constexpr int kFraction = 16;
constexpr int64_t kOne = int64_t(1) << kFraction;
constexpr int64_t kHalf = kOne / 2;
constexpr int kAntialiased = 16;

struct Spot {
    int64_t x, y;
    bool operator==(const Spot& o) const { return x == o.x && y == o.y; }
};

struct Canvas {
    uint8_t* data;
    int64_t width, height;
    int channels;     // 1 to 4
    int pixel;        // bytes of one pixel
    bool bytes;       // uint8: what antialiasing blends
    uint8_t color[32];

    bool holds(int64_t x, int64_t y) const { return x >= 0 && x < width && y >= 0 && y < height; }
    uint8_t* at(int64_t x, int64_t y) const { return data + (y * width + x) * pixel; }
    void put(int64_t x, int64_t y) const {
        if (holds(x, y)) std::memcpy(at(x, y), color, size_t(pixel));
    }
    void span(int64_t y, int64_t left, int64_t right) const {  // both ends are drawn
        if (y < 0 || y >= height) return;
        left = std::max<int64_t>(left, 0);
        right = std::min<int64_t>(right, width - 1);
        if (left > right) return;
        uint8_t* p = at(left, y);
        if (pixel == 1) {
            std::memset(p, color[0], size_t(right - left + 1));
            return;
        }
        for (int64_t x = left; x <= right; x++, p += pixel) std::memcpy(p, color, size_t(pixel));
    }
    void blend(int64_t x, int64_t y, int weight) const {  // weight of 256; applied twice
        if (!holds(x, y)) return;
        uint8_t* p = at(x, y);
        for (int c = 0; c < channels; c++) {
            int v = p[c];
            for (int pass = 0; pass < 2; pass++) v += ((color[c] - v) * weight + 127) >> 8;
            p[c] = uint8_t(v);
        }
    }
};

inline int64_t part(int64_t length, int64_t over, int64_t of) {
    return int64_t(double(length) * double(over) / double(of));
}

// Cohen-Sutherland: cuts the segment to [0, width) x [0, height); false if nothing of it is inside.
inline bool clip(int64_t width, int64_t height, Spot& a, Spot& b) {
    if (width <= 0 || height <= 0) return false;
    const int64_t right = width - 1, bottom = height - 1;
    auto side = [&](const Spot& p) { return (p.x < 0) + (p.x > right) * 2; };
    auto code = [&](const Spot& p) { return side(p) + (p.y < 0) * 4 + (p.y > bottom) * 8; };
    int ca = code(a), cb = code(b);
    auto crossing = [](int one, int other) { return (one & other) == 0 && (one | other) != 0; };
    auto to_row = [&](Spot& p, int& c) {
        const int64_t y = c < 8 ? 0 : bottom;
        p.x += part(y - p.y, b.x - a.x, b.y - a.y);
        p.y = y;
        c = side(p);
    };
    auto to_column = [&](Spot& p, int& c) {
        const int64_t x = c == 1 ? 0 : right;
        p.y += part(x - p.x, b.y - a.y, b.x - a.x);
        p.x = x;
        c = 0;
    };
    if (crossing(ca, cb)) {
        if (ca & 12) to_row(a, ca);
        if (cb & 12) to_row(b, cb);
        if (crossing(ca, cb)) {
            if (ca) to_column(a, ca);
            if (cb) to_column(b, cb);
        }
    }
    return (ca | cb) == 0;
}

// Bresenham's line between whole pixels, from left to right, 4- or 8-connected.
inline void pixel_line(const Canvas& to, Spot a, Spot b, int connectivity) {
    if (!to.holds(a.x, a.y) || !to.holds(b.x, b.y)) {
        if (!clip(to.width, to.height, a, b)) return;
    }
    if (b.x < a.x) std::swap(a, b);
    int64_t along = b.x - a.x, across = std::abs(b.y - a.y);
    const int64_t down = b.y < a.y ? -1 : 1;
    const bool steep = across > along;
    if (steep) std::swap(along, across);
    const bool four = connectivity == 4 || connectivity == 1;
    int64_t error = four ? 0 : along - 2 * across;
    const int64_t turn = four ? 2 * (along + across) : 2 * along;
    const int64_t count = four ? along + across + 1 : along + 1;
    int64_t x = a.x, y = a.y;
    for (int64_t i = 0; i < count; i++) {
        to.put(x, y);
        const bool sideways = error < 0;
        error += (sideways ? turn : 0) - 2 * across;
        const bool forward = !(four && sideways);
        if (steep ? sideways : forward) x += 1;
        if (steep ? forward : sideways) y += down;
    }
}

// A line in fixed point, ordered along its main axis: where it starts, its slope per pixel and its length.
struct Run {
    bool flat;       // the main axis is x
    Spot from, to;
    int64_t slope;   // of the other axis per pixel of the main axis
};

inline Run run_of(Spot a, Spot b) {
    int64_t dx = b.x - a.x, dy = b.y - a.y;
    const int64_t ax = std::abs(dx), ay = std::abs(dy);
    Run r{ax > ay, a, b, 0};
    if ((r.flat ? dx : dy) < 0) {
        std::swap(r.from, r.to);
        dx = -dx;
        dy = -dy;
    }
    r.slope = (r.flat ? dy : dx) * kOne / ((r.flat ? ax : ay) | 1);
    return r;
}

// A line of full pixels between points in fixed point.
inline void fixed_line(const Canvas& to, Spot a, Spot b) {
    if (!clip(to.width << kFraction, to.height << kFraction, a, b)) return;
    const Run r = run_of(a, b);
    to.put((r.to.x + kHalf) >> kFraction, (r.to.y + kHalf) >> kFraction);
    int64_t count = (r.flat ? r.to.x - r.from.x : r.to.y - r.from.y) >> kFraction;
    int64_t main = ((r.flat ? r.from.x : r.from.y) + kHalf) >> kFraction;
    int64_t other = (r.flat ? r.from.y : r.from.x) + kHalf;
    for (; count >= 0; count--, main++, other += r.slope) {
        const int64_t o = other >> kFraction;
        r.flat ? to.put(main, o) : to.put(o, main);
    }
}

// Weights of a pixel at a distance of i/32 pixel from the line: a Gaussian.
constexpr int kFilter[64] = {168, 177, 185, 194, 202, 210, 218, 224, 231, 236, 241, 246, 249, 252, 254, 254,
                             254, 254, 252, 249, 246, 241, 236, 231, 224, 218, 210, 202, 194, 185, 177, 168,
                             158, 149, 140, 131, 122, 114, 105, 97,  89,  82,  75,  68,  62,  56,  50,  45,
                             40,  36,  32,  28,  25,  22,  19,  16,  14,  12,  11,  9,   8,   7,   5,   5};

// An antialiased line: three pixels across, fading at both ends.
inline void smooth_line(const Canvas& to, Spot a, Spot b) {
    if (!to.bytes || to.channels == 2) {
        pixel_line(to, {a.x >> kFraction, a.y >> kFraction}, {b.x >> kFraction, b.y >> kFraction}, 8);
        return;
    }
    if (!clip(to.width << kFraction, to.height << kFraction, a, b)) return;
    const Run r = run_of(a, b);
    const int64_t start = r.flat ? r.from.x : r.from.y;
    const int64_t stop = (r.flat ? r.to.x : r.to.y) + kOne;
    int64_t other = (r.flat ? r.from.y : r.from.x) + ((r.slope * -(start & (kOne - 1))) >> kFraction) + kHalf;
    int steepness = int(r.slope >> (kFraction - 5)) & 0x3f;
    if (r.slope < 0) steepness ^= 0x3f;
    // A line at 45 degrees covers more of a pixel: 256 sqrt((1 + s^2) / 2) for a slope of s.
    int full = 0x100;
    if (!(steepness & 0x20)) {
        const double s = (steepness + 0.5) / 32;
        full = int(256 * std::sqrt((1 + s * s) / 2));
    }
    const int first = int(start >> (kFraction - 7)) & 0x78, last = int(stop >> (kFraction - 7)) & 0x78;
    const int half = full << 7, t1 = ((0x78 - first) | 4) * full, t2 = (last | 4) * full;
    auto ninth = [](int v) { return (v >> 8) & 0x1ff; };
    const int both = ninth((((last - first) & 0x78) | 4) * full);
    const int ends[9] = {0, both, ninth(t1), both, ninth((((last - first) + 0x80) | 4) * full),
                         ninth(t1 + half), ninth(t2), ninth(t2 + half), full};
    int64_t main = start >> kFraction, left = (stop >> kFraction) - main;
    for (int64_t done = 0; left >= 0; done++, left--, main++, other += r.slope) {
        if (main < 0 || main >= (r.flat ? to.width : to.height)) continue;
        const int end = ends[std::min<int64_t>(done, 2) * 3 + std::min<int64_t>(left, 2)];
        const int distance = int(other >> (kFraction - 5)) & 31;
        const int weights[3] = {kFilter[distance + 32], kFilter[distance], kFilter[63 - distance]};
        for (int k = 0; k < 3; k++) {
            const int64_t o = (other >> kFraction) - 1 + k;
            const int weight = (end * weights[k] >> 8) & 0xff;
            r.flat ? to.blend(main, o, weight) : to.blend(o, main, weight);
        }
    }
}

}}}  // namespace walle::cv
