// Softmax and LogSoftmax over rows, float32: each row is read three times from the first-level cache.
//
// softmax/Softmax, softmax/LogSoftmax: buf dst, src. arg rows, n. Units: rows. dst may be src.
#ifndef WALLE_KERNELS_SOFTMAX_HPP
#define WALLE_KERNELS_SOFTMAX_HPP
#include "walle/kernels/math.hpp"

namespace walle { namespace WALLE_ISA { namespace {

inline float row_max(const float* x, int64_t n) {
  F32 m0 = val(-kInf), m1 = m0;
  int64_t i = 0;
  for (; i + 2 * F32::N <= n; i += 2 * F32::N) m0 = max(F32::load(x + i), m0), m1 = max(F32::load(x + i + F32::N), m1);
  for (; i + F32::N <= n; i += F32::N) m0 = max(F32::load(x + i), m0);
  float m = reduce_max(max(m0, m1));
  for (; i < n; ++i) m = x[i] > m ? x[i] : m;
  return m;
}

// y = exp(x - m); returns the sum. A row of -inf only has m = -inf and yields NaN, as the definition does.
inline float row_exp(const float* x, float* y, int64_t n, float m) {
  F32 sum = val(0.0f);
  const F32 top = val(m);
  int64_t i = 0;
  for (; i + F32::N <= n; i += F32::N) {
    const F32 e = exp(sub(F32::load(x + i), top));
    if (y) e.store(y + i);
    sum = add(sum, e);
  }
  float total = reduce_add(sum);
  if (i < n) {
    float lane[F32::N];
    const F32 e = exp(sub(F32::load(x + i, size_t(n - i)), top));
    e.store(lane);
    if (y) e.store(y + i, size_t(n - i));
    for (int64_t k = 0; k < n - i; ++k) total += lane[k];
  }
  return total;
}

inline void softmax_rows(const walle_call* call) {
  const int64_t n = call->arg[1];
  for (int64_t row = call->begin; row < call->end; ++row) {
    const float* x = static_cast<const float*>(call->buf[1]) + row * n;
    float* y = static_cast<float*>(call->buf[0]) + row * n;
    const F32 scale = val(1.0f / row_exp(x, y, n, row_max(x, n)));
    int64_t i = 0;
    for (; i + F32::N <= n; i += F32::N) mul(F32::load(y + i), scale).store(y + i);
    if (i < n) mul(F32::load(y + i, size_t(n - i)), scale).store(y + i, size_t(n - i));
  }
}

inline void log_softmax_rows(const walle_call* call) {
  const int64_t n = call->arg[1];
  for (int64_t row = call->begin; row < call->end; ++row) {
    const float* x = static_cast<const float*>(call->buf[1]) + row * n;
    float* y = static_cast<float*>(call->buf[0]) + row * n;
    const float m = row_max(x, n);
    const F32 top = val(m), log_sum = val(::logf(row_exp(x, nullptr, n, m)));
    for (int64_t i = 0; i < n; i += F32::N) {
      const size_t left = size_t(n - i);
      if (left >= size_t(F32::N)) sub(sub(F32::load(x + i), top), log_sum).store(y + i);
      else sub(sub(F32::load(x + i, left), top), log_sum).store(y + i, left);
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_SOFTMAX_ROWS                                  \
  {"softmax", "Softmax", "float32", softmax_rows},          \
  {"softmax", "LogSoftmax", "float32", log_softmax_rows},
#endif
