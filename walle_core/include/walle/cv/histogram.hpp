// Histograms of up to four dimensions, and equalisation by one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace walle { namespace cv { namespace {

struct HistogramAxis {
    const void* data;   // first value of the channel
    int64_t stride;     // elements from pixel to pixel
    int64_t bins;
    double low, high;   // values in [low, high) are counted
    int64_t bin(double v) const {
        if (!(v >= low && v < high)) return -1;
        const double scale = double(bins) / (high - low);
        return std::max<int64_t>(0, std::min(bins - 1, int64_t(std::floor(v * scale - low * scale))));
    }
};

template <class T>
void count_values(const HistogramAxis* axes, int dimensions, int64_t pixels, const uint8_t* mask, float* out) {
    for (int64_t i = 0; i < pixels; i++) {
        if (mask && !mask[i]) continue;
        int64_t place = 0;
        for (int d = 0; d < dimensions && place >= 0; d++) {
            const int64_t bin = axes[d].bin(double(static_cast<const T*>(axes[d].data)[i * axes[d].stride]));
            place = bin < 0 ? -1 : place * axes[d].bins + bin;
        }
        if (place >= 0) out[place] += 1;
    }
}

inline void equalize(const uint8_t* in, int64_t count, uint8_t* out) {
    int64_t seen[256] = {};
    for (int64_t i = 0; i < count; i++) seen[in[i]]++;
    uint8_t map[256] = {};
    int first = 0;
    while (first < 255 && !seen[first]) first++;
    if (seen[first] == count) {
        map[first] = uint8_t(first);
    } else {
        const float scale = 255.0f / float(count - seen[first]);
        int64_t sum = 0;
        for (int v = first + 1; v < 256; v++) {
            sum += seen[v];
            map[v] = uint8_t(std::max(0.0f, std::min(255.0f, std::nearbyint(float(sum) * scale))));
        }
    }
    for (int64_t i = 0; i < count; i++) out[i] = map[in[i]];
}

}}}  // namespace walle::cv
