// Family softmax: over the last axis of [rows, n], float32. A row is read three times, from the nearest cache.
//
// buf: dst, src (dst may be src). arg: rows, n. Units: rows. Softmax: exp(x - max) / sum; LogSoftmax: x - max - log(sum).
#ifndef WALLE_KERNELS_SOFTMAX_HPP
#define WALLE_KERNELS_SOFTMAX_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/rows.hpp"

namespace walle { namespace WALLE_ISA { namespace {

// Rows shorter than half a vector: N rows side by side, one per lane; what a lane computes does not depend on the others.
constexpr int kShortRows = F32::N / 2;
template <bool Log> inline void softmax_short(const float* s, float* d, int64_t rows, int64_t n) {
  constexpr int N = F32::N;
  float lane[kShortRows + 1][N] = {};
  F32 x[kShortRows + 1];
  for (; rows > 0; rows -= N, s += N * n, d += N * n) {
    const int64_t m = rows < N ? rows : N;
    for (int64_t r = 0; r < m; ++r)
      for (int64_t j = 0; j < n; ++j) lane[j][r] = s[r * n + j];
    F32 top = val(-kInf), sum = val(0.0f);
    for (int64_t j = 0; j < n; ++j) x[j] = F32::load(lane[j]), top = max(x[j], top);
    for (int64_t j = 0; j < n; ++j) {
      const F32 y = sub(x[j], top), e = exp(y);
      sum = add(sum, e);
      x[j] = Log ? y : e;
    }
    const F32 total = Log ? log(sum) : div(val(1.0f), sum);
    for (int64_t j = 0; j < n; ++j) (Log ? sub(x[j], total) : mul(x[j], total)).store(lane[j]);
    for (int64_t r = 0; r < m; ++r)
      for (int64_t j = 0; j < n; ++j) d[r * n + j] = lane[j][r];
  }
}
template <bool Log> inline bool softmax_is_short(const walle_call* c) {
  const int64_t n = c->arg[1];
  if (n == 0 || n > kShortRows) return false;
  softmax_short<Log>(static_cast<const float*>(c->buf[1]) + c->begin * n, static_cast<float*>(c->buf[0]) + c->begin * n,
                     c->end - c->begin, n);
  return true;
}

inline void softmax(const walle_call* c) {
  constexpr int N = F32::N;
  const int64_t n = c->arg[1];
  if (softmax_is_short<false>(c)) return;
  for (int64_t r = c->begin; r < c->end; ++r) {
    const float* s = static_cast<const float*>(c->buf[1]) + r * n;
    float* d = static_cast<float*>(c->buf[0]) + r * n;
    const double sum = sum_exp(s, d, n, fold_row<MaxDropNaN>(s, n));
    const F32 scale = val(float(1.0 / sum));
    int64_t i = 0;
    for (; i + N <= n; i += N) mul(F32::load(d + i), scale).store(d + i);
    if (i < n) mul(F32::load(d + i, size_t(n - i)), scale).store(d + i, size_t(n - i));
  }
}
inline void log_softmax(const walle_call* c) {
  constexpr int N = F32::N;
  const int64_t n = c->arg[1];
  if (softmax_is_short<true>(c)) return;
  for (int64_t r = c->begin; r < c->end; ++r) {
    const float* s = static_cast<const float*>(c->buf[1]) + r * n;
    float* d = static_cast<float*>(c->buf[0]) + r * n;
    const float top = fold_row<MaxDropNaN>(s, n);
    const F32 m = val(top), log_sum = val(float(::log(sum_exp(s, nullptr, n, top))));
    int64_t i = 0;
    for (; i + N <= n; i += N) sub(sub(F32::load(s + i), m), log_sum).store(d + i);
    if (i < n) sub(sub(F32::load(s + i, size_t(n - i)), m), log_sum).store(d + i, size_t(n - i));
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_SOFTMAX_ROWS                       \
  {"softmax", "Softmax", "float32", softmax},    \
  {"softmax", "LogSoftmax", "float32", log_softmax},
#endif
