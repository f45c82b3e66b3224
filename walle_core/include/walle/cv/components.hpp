// Connected components by union-find over the runs of equal neighbours, and their statistics.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "walle/stop.hpp"

namespace walle { namespace cv { namespace {

struct Sets {
    std::vector<int32_t> up;
    int32_t add() {
        up.push_back(int32_t(up.size()));
        return up.back();
    }
    int32_t root(int32_t i) {
        while (up[size_t(i)] != i) i = up[size_t(i)] = up[size_t(up[size_t(i)])];
        return i;
    }
    int32_t join(int32_t a, int32_t b) {
        a = root(a);
        b = root(b);
        if (a > b) std::swap(a, b);
        up[size_t(b)] = a;
        return a;
    }
};

// Writes labels, 0 for background; returns how many there are, the background among them.
//
// Components are numbered by their first pixel, with 4 neighbours; by their first block of 2 x 2 pixels, with 8.
inline int32_t label_components(const uint8_t* image, int64_t width, int64_t height, int connectivity,
                                int32_t* labels) {
    Sets sets;
    sets.add();
    const bool eight = connectivity == 8;
    walle_stop_watch watch;
    for (int64_t y = 0; y < height; y++) {
        watch.work(width);
        for (int64_t x = 0; x < width; x++) {
            const int64_t i = y * width + x;
            labels[i] = 0;
            if (!image[i]) continue;
            int32_t mine = 0;
            auto touch = [&](int64_t near) {
                if (labels[near]) mine = mine ? sets.join(mine, labels[near]) : sets.root(labels[near]);
            };
            if (x > 0) touch(i - 1);
            if (y > 0) {
                touch(i - width);
                if (eight && x > 0) touch(i - width - 1);
                if (eight && x + 1 < width) touch(i - width + 1);
            }
            labels[i] = mine ? mine : sets.add();
        }
    }
    std::vector<int32_t> number(sets.up.size(), 0);
    int32_t count = 1;
    auto visit = [&](int64_t x, int64_t y) {
        if (x >= width || y >= height || !labels[y * width + x]) return;
        int32_t& n = number[size_t(sets.root(labels[y * width + x]))];
        if (!n) n = count++;
    };
    for (int64_t y = 0; y < height; y += eight ? 2 : 1) {
        watch.work(width);
        for (int64_t x = 0; x < width; x += eight ? 2 : 1) {
            visit(x, y);
            if (!eight) continue;
            visit(x + 1, y);
            visit(x, y + 1);
            visit(x + 1, y + 1);
        }
    }
    for (int64_t i = 0; i < width * height; i++)
        if (labels[i]) labels[i] = number[size_t(sets.root(labels[i]))];
    return count;
}

// Per label: left, top, width, height, area; and the mean of x and y (NaN for an empty background).
inline void component_stats(const int32_t* labels, int64_t width, int64_t height, int32_t count, int32_t* stats,
                            double* centroids) {
    constexpr int32_t none = std::numeric_limits<int32_t>::max();
    std::vector<int64_t> sums(size_t(count) * 2, 0);
    for (int32_t k = 0; k < count; k++) {
        const int32_t empty[5] = {none, none, -1, -1, 0};  // right and bottom until the end
        std::copy(empty, empty + 5, stats + 5 * k);
    }
    walle_stop_watch watch;
    for (int64_t y = 0; y < height; y++) {
        watch.work(width);
        for (int64_t x = 0; x < width; x++) {
            const int32_t k = labels[y * width + x];
            int32_t* s = stats + 5 * k;
            s[0] = std::min<int32_t>(s[0], int32_t(x));
            s[1] = std::min<int32_t>(s[1], int32_t(y));
            s[2] = std::max<int32_t>(s[2], int32_t(x));
            s[3] = std::max<int32_t>(s[3], int32_t(y));
            s[4]++;
            sums[size_t(2 * k)] += x;
            sums[size_t(2 * k + 1)] += y;
        }
    }
    for (int32_t k = 0; k < count; k++) {
        int32_t* s = stats + 5 * k;
        if (s[4]) {
            s[2] = s[2] - s[0] + 1;
            s[3] = s[3] - s[1] + 1;
        } else {
            const int32_t empty[5] = {-1, none, 0, 0, 0};
            std::copy(empty, empty + 5, s);
        }
        for (int j = 0; j < 2; j++)
            centroids[2 * k + j] = s[4] ? double(sums[size_t(2 * k + j)]) / s[4] : std::nan("");
    }
}

}}}  // namespace walle::cv
