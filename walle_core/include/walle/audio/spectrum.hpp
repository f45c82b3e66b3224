// Short-time Fourier transforms, products with small matrices, and sampled sound as numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "walle/guarded.hpp"
#include "walle/matrix/fft_axis.hpp"

namespace walle { namespace audio { namespace {

using Bin = matrix::Complex<float>;

enum Padding { kConstant = 0, kReflect = 1, kEdge = 2 };

// Sample i of a signal that goes on beyond both ends.
inline float sample(const float* y, int64_t n, int64_t i, int padding) {
    if (i >= 0 && i < n) return y[i];
    if (padding == kConstant) return 0;
    if (padding == kEdge || n == 1) return y[i < 0 ? 0 : n - 1];
    const int64_t period = 2 * (n - 1);
    i = ((i % period) + period) % period;
    return y[i < n ? i : period - i];
}

// out[bin][frame]: the transform of n_fft samples from `start` + frame * hop, times the window.
inline void stft(const float* y, int64_t n, const float* window, int64_t n_fft, int64_t hop, int64_t start,
                 int64_t frames, int padding, Bin* out) {
    const int64_t bins = n_fft / 2 + 1;
    std::vector<float> frame(static_cast<size_t>(n_fft));
    std::vector<Bin> spectrum(static_cast<size_t>(bins));
    for (int64_t f = 0; f < frames; f++) {
        const int64_t first = start + f * hop;
        for (int64_t i = 0; i < n_fft; i++)
            frame[size_t(i)] = window[i] == 0 ? 0 : sample(y, n, first + i, padding) * window[i];
        matrix::rfft_axis<float>(frame.data(), spectrum.data(), 1, n_fft, n_fft, 1, false, 1);
        for (int64_t k = 0; k < bins; k++) out[k * frames + f] = spectrum[size_t(k)];
    }
}

// The signal of length (frames - 1) hop + n_fft that such a transform is nearest to: windowed frames are added and
// divided by the sum of the squared windows (Griffin and Lim, 1984).
inline void istft(const Bin* in, const float* window, int64_t n_fft, int64_t hop, int64_t frames, float* out) {
    const int64_t bins = n_fft / 2 + 1, length = (frames - 1) * hop + n_fft;
    std::vector<float> frame(static_cast<size_t>(n_fft)), weight(size_t(length), 0.0f);
    std::vector<Bin> spectrum(static_cast<size_t>(bins));
    std::fill(out, out + length, 0.0f);
    for (int64_t f = 0; f < frames; f++) {
        for (int64_t k = 0; k < bins; k++) spectrum[size_t(k)] = in[k * frames + f];
        matrix::irfft_axis<float>(spectrum.data(), frame.data(), 1, bins, n_fft, 1, false, 1 / double(n_fft));
        for (int64_t i = 0; i < n_fft; i++) {
            out[f * hop + i] += frame[size_t(i)] * window[i];
            weight[size_t(f * hop + i)] += window[i] * window[i];
        }
    }
    for (int64_t i = 0; i < length; i++)
        if (weight[size_t(i)] > 1.17549435e-38f) out[i] /= weight[size_t(i)];
}

inline void magnitudes(const Bin* in, int64_t count, double power, float* out) {
    walle_stop_watch watch;
    for (int64_t i = 0; i < count; i++, watch.work(4)) {
        const float square = in[i].re * in[i].re + in[i].im * in[i].im;
        out[i] = power == 2 ? square : power == 1 ? std::sqrt(square) : float(std::pow(double(square), power / 2));
    }
}

// out = a [rows][inner] times b [inner][columns]; zeros of a, of which filter banks are full, cost nothing.
inline void product(const float* a, const float* b, int64_t rows, int64_t inner, int64_t columns, float* out) {
    std::vector<double> sum(static_cast<size_t>(columns));
    walle_stop_watch watch;
    for (int64_t r = 0; r < rows; r++) {
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int64_t k = 0; k < inner; k++) {
            const double w = a[r * inner + k];
            if (w == 0) continue;
            watch.work(columns);
            for (int64_t c = 0; c < columns; c++) sum[size_t(c)] += w * b[k * columns + c];
        }
        for (int64_t c = 0; c < columns; c++) out[r * columns + c] = float(sum[size_t(c)]);
    }
}

// scale * log(max(x, least) + offset), and no lower than `range` below its maximum (if range >= 0).
inline void logarithms(const float* in, int64_t count, double scale, double least, double offset, double shift,
                       double range, float* out) {
    float most = -INFINITY;
    walle_stop_watch watch;
    for (int64_t i = 0; i < count; i++, watch.work(8)) {
        out[i] = float(scale * std::log(std::max(double(in[i]), least) + offset) - shift);
        most = std::max(most, out[i]);
    }
    for (int64_t i = 0; range >= 0 && i < count; i++) out[i] = std::max(out[i], most - float(range));
}

// Little-endian PCM as numbers in [-1, 1): 8 bits are unsigned, more are signed.
inline void from_pcm(const uint8_t* in, int64_t count, int width, float* out) {
    for (int64_t i = 0; i < count; i++, in += width) {
        if (width == 1) {
            out[i] = (float(in[0]) - 128) / 128;
            continue;
        }
        uint32_t bits = 0;
        for (int b = 0; b < width; b++) bits |= uint32_t(in[b]) << (8 * (b + 4 - width));
        out[i] = float(double(int32_t(bits)) / 2147483648.0);
    }
}

inline void to_pcm16(const float* in, int64_t count, uint8_t* out) {
    for (int64_t i = 0; i < count; i++) {
        const float x = in[i] == in[i] ? in[i] : 0;
        const int v = int(std::nearbyint(std::max(-32768.0f, std::min(32767.0f, x * 32768))));
        out[2 * i] = uint8_t(v & 255);
        out[2 * i + 1] = uint8_t((v >> 8) & 255);
    }
}

// The modified Bessel function I0, by its power series.
inline double bessel_i0(double x) {
    double sum = 1, term = 1;
    for (int k = 1; k < 200 && term > sum * 1e-17; k++) {
        term *= (x / (2 * k)) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

// A low pass for changing the rate by up/down: 2 half + 1 taps of a sinc under a Kaiser window (beta 5), gain `up`.
inline std::vector<double> low_pass(int64_t up, int64_t down, int64_t half) {
    std::vector<double> taps(static_cast<size_t>(2 * half + 1));
    const double cutoff = 1.0 / double(std::max(up, down)), pi = 3.14159265358979323846;
    double sum = 0;
    walle_stop_watch watch;
    for (int64_t i = -half; i <= half; i++, watch.work(100)) {
        const double x = double(i) / double(half), t = pi * cutoff * double(i);
        const double tap = (i ? std::sin(t) / t : 1) * bessel_i0(5 * std::sqrt(1 - x * x));
        taps[size_t(i + half)] = tap;
        sum += tap;
    }
    for (double& tap : taps) tap *= double(up) / sum;
    return taps;
}

// Polyphase: out[m] = sum over k of y[k] h[half + m down - k up] (Crochiere and Rabiner, 1983, 3.3).
inline void resample(const float* y, int64_t n, int64_t up, int64_t down, int64_t count, float* out) {
    const int64_t half = 10 * std::max(up, down);
    const std::vector<double> h = low_pass(up, down, half);
    walle_stop_watch watch;
    for (int64_t m = 0; m < count; m++) {
        const int64_t at = m * down;
        const int64_t first = at > half ? (at - half + up - 1) / up : 0, last = std::min(n - 1, (at + half) / up);
        watch.work(1 + last - first);
        double sum = 0;
        for (int64_t k = first; k <= last; k++) sum += y[k] * h[size_t(half + at - k * up)];
        out[m] = float(sum);
    }
}

}}}  // namespace walle::audio
