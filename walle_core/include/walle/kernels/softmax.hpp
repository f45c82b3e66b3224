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

inline void softmax(const walle_call* c) {
  constexpr int N = F32::N;
  const int64_t n = c->arg[1];
  for (int64_t r = c->begin; r < c->end; ++r) {
    const float* s = static_cast<const float*>(c->buf[1]) + r * n;
    float* d = static_cast<float*>(c->buf[0]) + r * n;
    const double sum = sum_exp(s, d, n, fold_row<MaxFold>(s, n));
    const F32 scale = val(float(1.0 / sum));
    int64_t i = 0;
    for (; i + N <= n; i += N) mul(F32::load(d + i), scale).store(d + i);
    if (i < n) mul(F32::load(d + i, size_t(n - i)), scale).store(d + i, size_t(n - i));
  }
}
inline void log_softmax(const walle_call* c) {
  constexpr int N = F32::N;
  const int64_t n = c->arg[1];
  for (int64_t r = c->begin; r < c->end; ++r) {
    const float* s = static_cast<const float*>(c->buf[1]) + r * n;
    float* d = static_cast<float*>(c->buf[0]) + r * n;
    const float top = fold_row<MaxFold>(s, n);
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
