// Pooling over windows and over whole images; activations [n][h][w][c], vectors run along channels.
//
// family pool
//   op Max, Average          buf: dst, src
//     arg: n, h, w, c, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, pad_bottom,
//          pad_right, ld_dst (elements from pixel to pixel of dst), count_include_pad (Average)
//     Padding never wins a maximum; a window wholly in padding gives -infinity. Average divides by the taps inside
//     the image, or with count_include_pad by the taps inside the padded image (taps that ceil_mode adds beyond it
//     do not count).
//     units: rows of dst (n*oh).
//   op GlobalMax, GlobalAverage   buf: dst, src
//     arg: n, pixels (h*w), c, block (channels per unit, a multiple of 4 vectors)
//     dst: [n][c]. units: n * ceil(c/block), blocks innermost.
#ifndef WALLE_KERNELS_POOL_HPP
#define WALLE_KERNELS_POOL_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/gemm_tile.hpp"

#define WALLE_POOL_ROWS                                                                \
  {"pool", "Max", "float32", walle::WALLE_ISA::pool<true>},                            \
  {"pool", "Average", "float32", walle::WALLE_ISA::pool<false>},                       \
  {"pool", "GlobalMax", "float32", walle::WALLE_ISA::pool_global<true>},               \
  {"pool", "GlobalAverage", "float32", walle::WALLE_ISA::pool_global<false>},

namespace walle { namespace WALLE_ISA { namespace {

struct PoolArgs {
  int64_t n, h, w, c, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, pad_bottom;
  int64_t pad_right, ld_dst, count_include_pad;
};

// The taps first..last-1 of a window that starts at `start` lie in [0, size); `counted` of all lie in [-before, size + after).
struct PoolSpan {
  int64_t first = 0, last, counted = 0;
  PoolSpan(int64_t start, int64_t taps, int64_t dilation, int64_t size, int64_t before, int64_t after) : last(taps) {
    while (first < last && start + first * dilation < 0) ++first;
    while (last > first && start + (last - 1) * dilation >= size) --last;
    for (int64_t i = 0; i < taps; ++i) {
      const int64_t at = start + i * dilation;
      counted += at >= -before && at < size + after;
    }
  }
};

// Maximum or sum of what is added. NaN wins: max() returns its second operand when either is NaN, so a NaN that a later
// value replaces is kept in a mask, off the chain of maxima.
template <bool kMax> struct PoolSum {
  F32 value = F32::set(kMax ? -__builtin_inff() : 0.0f);
  M32 nan = isnan(F32::set(0.0f));
  WALLE_INLINE void take(F32 x) {
    if (kMax) nan = logical_or(nan, isnan(x));
    value = kMax ? max(value, x) : add(value, x);
  }
  WALLE_INLINE F32 result() const { return kMax ? select(nan, F32::set(__builtin_nanf("")), value) : value; }
};

// One window of V vectors of channels from p: the loops over its taps are shared by V chains.
template <bool kMax, int V>
WALLE_INLINE void pool_window(const PoolArgs& a, const float* p, int64_t rows, int64_t cols, F32 scale, float* out,
                              size_t lanes) {
  const int64_t step_x = a.dilation_w * a.c, step_y = a.dilation_h * a.w * a.c;
  const bool full = lanes >= size_t(F32::N);
  PoolSum<kMax> acc[V];
  for (int64_t ky = 0; ky < rows; ++ky) {
    const float* q = p + ky * step_y;
    for (int64_t kx = 0; kx < cols; ++kx, q += step_x) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[v].take(full ? F32::load(q + v * F32::N) : F32::load(q, lanes));
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const F32 y = kMax ? acc[v].result() : mul(acc[v].result(), scale);
    if (full) y.store(out + v * F32::N);
    else y.store(out, lanes);
  }
}

template <bool kMax> void pool(const walle_call* call) {
  const PoolArgs& a = *reinterpret_cast<const PoolArgs*>(call->arg);
  float* dst = static_cast<float*>(call->buf[0]);
  const float* src = static_cast<const float*>(call->buf[1]);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t iy = unit % a.oh * a.stride_h - a.pad_top;
    const PoolSpan y(iy, a.kh, a.dilation_h, a.h, a.pad_top, a.pad_bottom);
    const float* image = src + unit / a.oh * a.h * a.w * a.c;
    for (int64_t ox = 0; ox < a.ow; ++ox) {
      const int64_t ix = ox * a.stride_w - a.pad_left;
      const PoolSpan x(ix, a.kw, a.dilation_w, a.w, a.pad_left, a.pad_right);
      const int64_t rows = y.last - y.first, cols = x.last - x.first;
      const int64_t taps = a.count_include_pad ? y.counted * x.counted : rows * cols;
      const F32 scale = F32::set(kMax || !taps ? 1.0f : 1.0f / float(taps));
      const float* p = image + ((iy + y.first * a.dilation_h) * a.w + ix + x.first * a.dilation_w) * a.c;
      float* out = dst + (unit * a.ow + ox) * a.ld_dst;
      int64_t c = 0;
      for (; c + 4 * F32::N <= a.c; c += 4 * F32::N)
        pool_window<kMax, 4>(a, p + c, rows, cols, scale, out + c, F32::N);
      for (; c < a.c; c += F32::N) pool_window<kMax, 1>(a, p + c, rows, cols, scale, out + c, size_t(a.c - c));
    }
  }
}

// Sums in runs of 64 pixels, so that the rounding error of a large image grows with the number of runs.
template <bool kMax, int kVectors>
WALLE_INLINE void pool_global_vectors(const float* src, float* dst, int64_t pixels, int64_t c, size_t lanes) {
  constexpr int64_t run = 64;
  const bool full = lanes >= size_t(F32::N);
  PoolSum<kMax> total[kVectors];
  for (int64_t begin = 0; begin < pixels; begin += run) {
    const int64_t end = begin + run < pixels ? begin + run : pixels;
    PoolSum<kMax> acc[kVectors];
    for (int64_t i = begin; i < end; ++i)
      for (int v = 0; v < kVectors; ++v) {
        const float* p = src + i * c + v * F32::N;
        acc[v].take(full ? F32::load(p) : F32::load(p, lanes));
      }
    for (int v = 0; v < kVectors; ++v) total[v].take(acc[v].result());
  }
  const F32 scale = F32::set(kMax ? 1.0f : 1.0f / float(pixels));
  for (int v = 0; v < kVectors; ++v) {
    const F32 y = kMax ? total[v].result() : mul(total[v].result(), scale);
    if (full) y.store(dst + v * F32::N);
    else y.store(dst + v * F32::N, lanes);
  }
}

template <bool kMax> void pool_global(const walle_call* call) {
  const int64_t pixels = call->arg[1], c_count = call->arg[2], block = call->arg[3];
  const int64_t blocks = (c_count + block - 1) / block;
  float* dst = static_cast<float*>(call->buf[0]);
  const float* src = static_cast<const float*>(call->buf[1]);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t n = unit / blocks, begin = unit % blocks * block;
    const int64_t end = begin + block < c_count ? begin + block : c_count;
    const float* image = src + n * pixels * c_count;
    float* out = dst + n * c_count;
    int64_t c = begin;
    for (; c + 4 * F32::N <= end; c += 4 * F32::N)
      pool_global_vectors<kMax, 4>(image + c, out + c, pixels, c_count, F32::N);
    for (; c < end; c += F32::N) pool_global_vectors<kMax, 1>(image + c, out + c, pixels, c_count, size_t(end - c));
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
