// Family norm, float32.
//
// LayerNorm: dst = (x - mean) / sqrt(var + epsilon) * scale + bias over the last axis of [rows, n].
// RmsNorm: dst = x / sqrt(mean(x^2) + epsilon) * scale + bias. buf: dst, src, scale [n], bias [n] or null.
//   arg: rows, n, f(epsilon). Units: rows.
// ChannelAffine: dst = x * scale[c] + bias[c] on [n, c, inner]. buf: dst, src, scale, bias. arg: n, c, inner.
//   Units: elements.
// dst may be src.
#ifndef WALLE_KERNELS_NORM_HPP
#define WALLE_KERNELS_NORM_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/rows.hpp"

namespace walle { namespace WALLE_ISA { namespace {

// Sum of (x - mean)^2 over one row.
inline double sum_deviation(const float* s, int64_t n, float mean) {
  constexpr int N = F32::N;
  const F32 m = val(mean), zero = val(0.0f);
  double total = 0;
  for (int64_t i = 0; i < n;) {
    const int64_t stop = n - i < 2048 ? n : i + 2048;
    F32 a = zero, b = zero;
    for (; i + 2 * N <= stop; i += 2 * N) {
      const F32 x = sub(F32::load(s + i), m), y = sub(F32::load(s + i + N), m);
      a = fma(x, x, a);
      b = fma(y, y, b);
    }
    for (; i < stop; i += N) {
      const size_t left = stop - i < N ? size_t(stop - i) : size_t(N);
      const F32 x = select(first_lanes(left), sub(F32::load(s + i, left), m), zero);
      a = fma(x, x, a);
    }
    i = stop;
    total += double(reduce_add(add(a, b)));
  }
  return total;
}

template <bool Centre> void norm_rows(const walle_call* c) {
  constexpr int N = F32::N;
  const int64_t n = c->arg[1];
  const double epsilon = walle_f64(c->arg[2]);
  const float *scale = static_cast<const float*>(c->buf[2]), *bias = static_cast<const float*>(c->buf[3]);
  for (int64_t r = c->begin; r < c->end; ++r) {
    const float* s = static_cast<const float*>(c->buf[1]) + r * n;
    float* d = static_cast<float*>(c->buf[0]) + r * n;
    const float mean = Centre ? float(sum_row<Plain>(s, n) / double(n)) : 0.0f;
    const double spread = (Centre ? sum_deviation(s, n, mean) : sum_row<Square>(s, n)) / double(n);
    const F32 m = val(mean), k = val(float(1.0 / ::sqrt(spread + epsilon)));
    int64_t i = 0;
    for (; i + N <= n; i += N) {
      const F32 x = mul(sub(F32::load(s + i), m), k), w = F32::load(scale + i);
      (bias ? fma(x, w, F32::load(bias + i)) : mul(x, w)).store(d + i);
    }
    if (i < n) {
      const size_t left = size_t(n - i);
      const F32 x = mul(sub(F32::load(s + i, left), m), k), w = F32::load(scale + i, left);
      (bias ? fma(x, w, F32::load(bias + i, left)) : mul(x, w)).store(d + i, left);
    }
  }
}

inline void channel_affine(const walle_call* c) {
  constexpr int N = F32::N;
  const int64_t channels = c->arg[1], inner = c->arg[2], run = inner == 1 ? channels : inner;
  const float *scale = static_cast<const float*>(c->buf[2]), *bias = static_cast<const float*>(c->buf[3]);
  const float* s = static_cast<const float*>(c->buf[1]);
  float* d = static_cast<float*>(c->buf[0]);
  for (int64_t u = c->begin; u < c->end;) {  // runs of one channel, or of all channels where they are innermost
    const int64_t at = u % run, left = run - at < c->end - u ? run - at : c->end - u;
    const float *w = inner == 1 ? scale + at : scale + u / inner % channels, *b = bias + (w - scale);
    const F32 w0 = val(*w), b0 = val(*b);
    int64_t i = 0;
    if (inner == 1) {
      for (; i + N <= left; i += N) fma(F32::load(s + u + i), F32::load(w + i), F32::load(b + i)).store(d + u + i);
      const size_t m = size_t(left - i);
      if (m) fma(F32::load(s + u + i, m), F32::load(w + i, m), F32::load(b + i, m)).store(d + u + i, m);
    } else {
      for (; i + N <= left; i += N) fma(F32::load(s + u + i), w0, b0).store(d + u + i);
      const size_t m = size_t(left - i);
      if (m) fma(F32::load(s + u + i, m), w0, b0).store(d + u + i, m);
    }
    u += left;
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_NORM_ROWS                                   \
  {"norm", "LayerNorm", "float32", norm_rows<true>},      \
  {"norm", "RmsNorm", "float32", norm_rows<false>},       \
  {"norm", "ChannelAffine", "float32", channel_affine},
#endif
