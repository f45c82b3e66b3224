// Normalisation over rows, float32: two passes over a row that stays in the first-level cache.
//
// norm/LayerNorm: buf dst, src, scale, bias (or null). arg rows, n, f(epsilon). Units: rows. dst may be src.
//                 dst = (src - mean) / sqrt(variance + epsilon) * scale + bias
// norm/RmsNorm:   the same with mean 0: dst = src / sqrt(mean of squares + epsilon) * scale + bias
// norm/ChannelAffine: buf dst, src, scale, bias. arg n, c, inner. Units: elements. dst = src * scale[c] + bias[c]
#ifndef WALLE_KERNELS_NORM_HPP
#define WALLE_KERNELS_NORM_HPP
#include "walle/kernels/math.hpp"

namespace walle { namespace WALLE_ISA { namespace {

inline float row_sum(const float* x, int64_t n) {
  F32 s0 = val(0.0f), s1 = s0;
  int64_t i = 0;
  for (; i + 2 * F32::N <= n; i += 2 * F32::N) s0 = add(F32::load(x + i), s0), s1 = add(F32::load(x + i + F32::N), s1);
  for (; i + F32::N <= n; i += F32::N) s0 = add(F32::load(x + i), s0);
  if (i < n) s1 = add(F32::load(x + i, size_t(n - i)), s1);
  return reduce_add(add(s0, s1));
}

inline float row_square_sum(const float* x, int64_t n, float mean) {
  F32 s0 = val(0.0f), s1 = s0;
  const F32 m = val(mean);
  int64_t i = 0;
  for (; i + 2 * F32::N <= n; i += 2 * F32::N) {
    const F32 a = sub(F32::load(x + i), m), b = sub(F32::load(x + i + F32::N), m);
    s0 = fma(a, a, s0), s1 = fma(b, b, s1);
  }
  for (; i + F32::N <= n; i += F32::N) {
    const F32 a = sub(F32::load(x + i), m);
    s0 = fma(a, a, s0);
  }
  float sum = reduce_add(add(s0, s1));
  for (; i < n; ++i) sum += (x[i] - mean) * (x[i] - mean);
  return sum;
}

template <bool kCentred> void norm_rows(const walle_call* call) {
  const int64_t n = call->arg[1];
  const float epsilon = float(walle_f64(call->arg[2]));
  const float* scale = static_cast<const float*>(call->buf[2]);
  const float* bias = static_cast<const float*>(call->buf[3]);
  for (int64_t row = call->begin; row < call->end; ++row) {
    const float* x = static_cast<const float*>(call->buf[1]) + row * n;
    float* y = static_cast<float*>(call->buf[0]) + row * n;
    const float mean = kCentred ? row_sum(x, n) / float(n) : 0.0f;
    const float inverse = 1.0f / ::sqrtf(row_square_sum(x, n, mean) / float(n) + epsilon);
    const F32 m = val(mean), r = val(inverse);
    for (int64_t i = 0; i < n; i += F32::N) {
      const size_t left = size_t(n - i);
      if (left >= size_t(F32::N)) {
        const F32 b = bias ? F32::load(bias + i) : val(0.0f);
        fma(mul(sub(F32::load(x + i), m), r), F32::load(scale + i), b).store(y + i);
      } else {
        const F32 b = bias ? F32::load(bias + i, left) : val(0.0f);
        fma(mul(sub(F32::load(x + i, left), m), r), F32::load(scale + i, left), b).store(y + i, left);
      }
    }
  }
}

inline void channel_affine(const walle_call* call) {
  const int64_t c = call->arg[1], inner = call->arg[2];
  const float* x = static_cast<const float*>(call->buf[1]);
  float* y = static_cast<float*>(call->buf[0]);
  const float* scale = static_cast<const float*>(call->buf[2]);
  const float* bias = static_cast<const float*>(call->buf[3]);
  for (int64_t i = call->begin; i < call->end;) {
    const int64_t channel = i / inner % c, stop = (i / inner + 1) * inner;
    const int64_t end = stop < call->end ? stop : call->end;
    const F32 s = val(scale[channel]), b = val(bias[channel]);
    for (; i + F32::N <= end; i += F32::N) fma(F32::load(x + i), s, b).store(y + i);
    if (i < end) fma(F32::load(x + i, size_t(end - i)), s, b).store(y + i, size_t(end - i));
    i = end;
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_NORM_ROWS                               \
  {"norm", "LayerNorm", "float32", norm_rows<true>},  \
  {"norm", "RmsNorm", "float32", norm_rows<false>},   \
  {"norm", "ChannelAffine", "float32", channel_affine},
#endif
