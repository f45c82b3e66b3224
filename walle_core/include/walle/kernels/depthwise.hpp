// Depthwise convolution: one filter per channel; activations [n][h][w][c], vectors run along channels.
//
// family depthwise
//   op pack        buf: w', w               arg: c, taps (kh*kw)
//     w: [c][1][kh][kw] -> w': [kh*kw][c]. units: taps.
//   op conv        buf: dst, src, w', bias[c] (or null), residual (or null)
//     arg: n, h, w, c, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left,
//          ld_src, ld_dst, ld_residual (elements from pixel to pixel), activation code, f(alpha), f(beta)
//     units: rows of dst (n*oh).
//
// A strip of neighbouring pixels of one row is computed at a time, so that a weight is loaded once per strip and
// (3 and 5 wide kernels) an input once per kernel row.
#ifndef WALLE_KERNELS_DEPTHWISE_HPP
#define WALLE_KERNELS_DEPTHWISE_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/activation.hpp"
#include "walle/kernels/gemm_tile.hpp"

#define WALLE_DEPTHWISE_ROWS                                                      \
  {"depthwise", "pack", "float32", walle::WALLE_ISA::depthwise_pack},             \
  {"depthwise", "conv", "float32", walle::WALLE_ISA::depthwise},

namespace walle { namespace WALLE_ISA { namespace {

struct DepthwiseArgs {
  int64_t n, h, w, c, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int64_t ld_src, ld_dst, ld_residual;
};

inline void depthwise_pack(const walle_call* call) {
  float* dst = static_cast<float*>(call->buf[0]);
  const float* w = static_cast<const float*>(call->buf[1]);
  const int64_t c = call->arg[0], taps = call->arg[1];
  for (int64_t tap = call->begin; tap < call->end; ++tap)
    for (int64_t i = 0; i < c; ++i) dst[tap * c + i] = w[i * taps + tap];
}

// What the strips of one output row share. Kernel rows ky0..ky1 are the ones that lie inside the image.
struct DepthwiseRow {
  const DepthwiseArgs& a;
  const Activation& act;
  const float *image, *weights, *bias, *residual;  // residual, dst: start of this output row
  float* dst;
  int64_t iy0, ky0, ky1;
};

// `strips` strips of P pixels from ox, channels c0..c1-1. KW, SW: kernel width and stride known at compile time
// (dilation 1), or 0: any.
// kEdge: columns may lie outside the image, and only `valid` of the P pixels exist.
template <int KW, int SW, int P, bool kEdge>
__attribute__((noinline)) void depthwise_strips(const DepthwiseRow& r, int64_t ox, int64_t strips, int64_t valid,
                                                int64_t c0, int64_t c1) {
  const DepthwiseArgs& a = r.a;
  const int64_t kw = KW ? KW : a.kw, stride = SW ? SW : a.stride_w, dilation = KW ? 1 : a.dilation_w;
  const int64_t ix0 = ox * stride - a.pad_left, w = a.w;
  const int64_t ld = a.ld_src, ld_dst = a.ld_dst, ld_residual = a.ld_residual;
  const int64_t row_step = a.dilation_h * w * ld, tap_step = a.c, rows = r.ky1 - r.ky0;
  const float* origin = r.image + ((r.iy0 + r.ky0 * a.dilation_h) * w + ix0) * ld;
  const float* const weights = r.weights + r.ky0 * kw * tap_step;
  const float* residual = r.residual ? r.residual + ox * ld_residual : nullptr;
  const float* const bias = r.bias;
  float* dst = r.dst + ox * ld_dst;
  const Activation act = r.act;

  const auto vector = [&](int64_t c, auto load, auto store) __attribute__((always_inline)) {
    const auto input = [&](const float* q, int64_t x) __attribute__((always_inline)) {
      return kEdge && uint64_t(ix0 + x) >= uint64_t(w) ? F32::set(0.0f) : load(q + x * ld);
    };
    const F32 start = bias ? load(bias + c) : F32::set(0.0f);
    F32 acc[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) acc[p] = start;
    const float* weight = weights + c;
    const float* row = origin + c;
    if constexpr (KW > 0 && !kEdge) {  // of the next strip, the rows that no output row has read yet
      const float* fresh = row + (rows - 1) * row_step + ((P - 1) * SW + KW) * ld;
#pragma GCC unroll 2
      for (int y = 0; y < SW; ++y, fresh -= row_step)
#pragma GCC unroll 8
        for (int x = 0; x < P * SW; ++x) prefetch(fresh + x * ld);
    }
    for (int64_t ky = 0; ky < rows; ++ky, row += row_step) {
      if constexpr (KW > 0) {
        F32 tap[KW];
#pragma GCC unroll 8
        for (int kx = 0; kx < KW; ++kx) tap[kx] = load(weight + kx * tap_step);
        weight += KW * tap_step;
#pragma GCC unroll 32
        for (int x = 0; x < (P - 1) * SW + KW; ++x) {
          const F32 v = pin(input(row, x));
#pragma GCC unroll 8
          for (int p = 0; p < P; ++p)
            if (x - p * SW >= 0 && x - p * SW < KW) acc[p] = madd(v, tap[x - p * SW], acc[p]);
        }
      } else {
        for (int64_t kx = 0; kx < kw; ++kx, weight += tap_step) {
          const F32 tap = load(weight);
#pragma GCC unroll 8
          for (int p = 0; p < P; ++p) acc[p] = madd(input(row, p * stride + kx * dilation), tap, acc[p]);
        }
      }
    }
    if (residual) {
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p)
        if (!kEdge || p < valid) acc[p] = add(acc[p], load(residual + p * ld_residual + c));
    }
    act.apply(acc);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
      if (!kEdge || p < valid) store(dst + p * ld_dst + c, acc[p]);
  };
  for (int64_t strip = 0; strip < strips; ++strip) {
    int64_t c = c0;
    for (; c + F32::N <= c1; c += F32::N)
      vector(c, [](const float* p) { return F32::load(p); }, [](float* p, F32 v) { v.store(p); });
    if (c < c1) {
      const size_t n = size_t(c1 - c);
      vector(c, [n](const float* p) { return F32::load(p, n); }, [n](float* p, F32 v) { v.store(p, n); });
    }
    origin += P * stride * ld;
    dst += P * ld_dst;
    if (residual) residual += P * ld_residual;
  }
}

// The same for two output rows at once and a K x K kernel of stride 1, dilation 1, whose rows all lie inside the image: an
// input row that both need is loaded once. (With larger strides they share too little.)
template <int K, int P, bool kEdge>
__attribute__((noinline)) void depthwise_pairs(const DepthwiseRow& r, int64_t ox, int64_t strips, int64_t valid,
                                               int64_t c0, int64_t c1) {
  const DepthwiseArgs& a = r.a;
  const int64_t ix0 = ox - a.pad_left, w = a.w;
  const int64_t ld = a.ld_src, ld_dst = a.ld_dst, ld_residual = a.ld_residual, tap_step = a.c;
  const int64_t row_step = w * ld, dst_step = a.ow * ld_dst, residual_step = a.ow * ld_residual;
  const float* origin = r.image + (r.iy0 * w + ix0) * ld;
  const float* residual = r.residual ? r.residual + ox * ld_residual : nullptr;
  const float *const bias = r.bias, *const weights = r.weights;
  float* dst = r.dst + ox * ld_dst;
  const Activation act = r.act;

  const auto vector = [&](int64_t c, auto load, auto store) __attribute__((always_inline)) {
    const F32 start = bias ? load(bias + c) : F32::set(0.0f);
    F32 acc[2][P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) acc[0][p] = acc[1][p] = start;
    const float* const weight = weights + c;
    if (!kEdge) {  // of the next strip, the rows that no output row has read yet
      const float* fresh = origin + c + K * row_step + (P - 1 + K) * ld;
#pragma GCC unroll 2
      for (int y = 0; y < 2; ++y, fresh -= row_step)
#pragma GCC unroll 8
        for (int x = 0; x < P; ++x) prefetch(fresh + x * ld);
    }
#pragma GCC unroll 8
    for (int y = 0; y <= K; ++y) {
      const float* row = origin + c + y * row_step;
      F32 upper[K], lower[K];  // kernel rows of the upper and of the lower output row
#pragma GCC unroll 8
      for (int kx = 0; kx < K; ++kx) {
        if (y < K) upper[kx] = load(weight + (y * K + kx) * tap_step);
        if (y >= 1) lower[kx] = load(weight + ((y - 1) * K + kx) * tap_step);
      }
#pragma GCC unroll 32
      for (int x = 0; x < P - 1 + K; ++x) {
        const F32 v = pin(kEdge && uint64_t(ix0 + x) >= uint64_t(w) ? F32::set(0.0f) : load(row + x * ld));
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
          if (x - p < 0 || x - p >= K) continue;
          if (y < K) acc[0][p] = madd(v, upper[x - p], acc[0][p]);
          if (y >= 1) acc[1][p] = madd(v, lower[x - p], acc[1][p]);
        }
      }
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      if (residual) {
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p)
          if (!kEdge || p < valid) acc[i][p] = add(acc[i][p], load(residual + i * residual_step + p * ld_residual + c));
      }
      act.apply(acc[i]);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p)
        if (!kEdge || p < valid) store(dst + i * dst_step + p * ld_dst + c, acc[i][p]);
    }
  };
  for (int64_t strip = 0; strip < strips; ++strip) {
    int64_t c = c0;
    for (; c + F32::N <= c1; c += F32::N)
      vector(c, [](const float* p) { return F32::load(p); }, [](float* p, F32 v) { v.store(p); });
    if (c < c1) {
      const size_t n = size_t(c1 - c);
      vector(c, [n](const float* p) { return F32::load(p, n); }, [n](float* p, F32 v) { v.store(p, n); });
    }
    origin += P * ld;
    dst += P * ld_dst;
    if (residual) residual += P * ld_residual;
  }
}

// One output row, or two.
template <int KW, int SW, bool kTwo> void depthwise_row(const DepthwiseRow& r) {
  constexpr int P = kRegisters >= 32 ? 8 / (SW == 1 || SW == 0 ? 1 : 2) : 4;
  const DepthwiseArgs& a = r.a;
  const int64_t span = (a.kw - 1) * a.dilation_w;
  // Channels are taken in blocks whose strips (inputs and weights) stay in the first-level cache.
  const int64_t block = 256 / F32::N * F32::N;
  // Strips before `first` or from `last` on read columns outside the image or have fewer than P pixels.
  const int64_t strips = (a.ow + P - 1) / P, step = P * a.stride_w;
  const int64_t reach = a.w - 1 + a.pad_left - (P - 1) * a.stride_w - span;  // largest origin whose strip lies inside
  int64_t first = (a.pad_left + step - 1) / step, last = reach < 0 ? 0 : reach / step + 1;
  if (last > a.ow / P) last = a.ow / P;
  if (first > last) first = last;
  for (int64_t c0 = 0; c0 < a.c; c0 += block) {
    const int64_t c1 = c0 + block < a.c ? c0 + block : a.c;
    for (int64_t s = 0; s < strips; ++s) {
      const int64_t ox = s * P, valid = a.ow - ox < P ? a.ow - ox : P;
      const bool inside = s == first && first < last;
      if constexpr (kTwo) {
        if (inside) depthwise_pairs<KW, P, false>(r, ox, last - first, P, c0, c1);
        else if (valid > P / 2) depthwise_pairs<KW, P, true>(r, ox, 1, valid, c0, c1);
        else depthwise_pairs<KW, P / 2, true>(r, ox, 1, valid, c0, c1);
      } else {
        if (inside) depthwise_strips<KW, SW, P, false>(r, ox, last - first, P, c0, c1);
        else if (valid > P / 2) depthwise_strips<KW, SW, P, true>(r, ox, 1, valid, c0, c1);
        else depthwise_strips<KW, SW, P / 2, true>(r, ox, 1, valid, c0, c1);
      }
      if (inside) s = last - 1;
    }
  }
}

inline void depthwise(const walle_call* call) {
  const DepthwiseArgs& a = *reinterpret_cast<const DepthwiseArgs*>(call->arg);
  const Activation act = Activation::make(call->arg + sizeof(DepthwiseArgs) / sizeof(int64_t));
  float* dst = static_cast<float*>(call->buf[0]);
  const float* src = static_cast<const float*>(call->buf[1]);
  const float* residual = static_cast<const float*>(call->buf[4]);
  typedef void (*row_fn)(const DepthwiseRow&);
  row_fn run = depthwise_row<0, 0, false>, two = nullptr;
  const int64_t shape = a.dilation_w == 1 ? a.kw * 10 + a.stride_w : 0;
  if (shape == 31) run = depthwise_row<3, 1, false>;
  if (shape == 32) run = depthwise_row<3, 2, false>;
  if (shape == 51) run = depthwise_row<5, 1, false>;
  if (shape == 52) run = depthwise_row<5, 2, false>;
  if (shape == 31 && a.kh == 3 && a.stride_h == 1 && a.dilation_h == 1) two = depthwise_row<3, 1, true>;
  const float* weights = static_cast<const float*>(call->buf[2]);
  const float* bias = static_cast<const float*>(call->buf[3]);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t oy = unit % a.oh, iy0 = oy * a.stride_h - a.pad_top;
    int64_t ky0 = 0, ky1 = a.kh;
    while (ky0 < ky1 && iy0 + ky0 * a.dilation_h < 0) ++ky0;
    while (ky1 > ky0 && iy0 + (ky1 - 1) * a.dilation_h >= a.h) --ky1;
    const DepthwiseRow row = {a, act, src + unit / a.oh * a.h * a.w * a.ld_src, weights, bias,
                              residual ? residual + unit * a.ow * a.ld_residual : nullptr,
                              dst + unit * a.ow * a.ld_dst, iy0, ky0, ky1};
    const bool both = two && unit + 1 < call->end && oy + 1 < a.oh && ky0 == 0 && iy0 + a.stride_h + a.kh <= a.h;
    both ? two(row) : run(row);
    unit += both;
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
