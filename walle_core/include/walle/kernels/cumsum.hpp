// Family cumsum: running sums along the middle axis of [outer, n, inner], in order.
//
// buf: dst, src (not the same). arg: outer, n, inner, exclusive, reverse. Units: outer * inner.
#ifndef WALLE_KERNELS_CUMSUM_HPP
#define WALLE_KERNELS_CUMSUM_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"

namespace walle { namespace WALLE_ISA { namespace {

template <class T> void cumsum(const walle_call* c) {
  const int64_t n = c->arg[1], inner = c->arg[2], exclusive = c->arg[3], reverse = c->arg[4];
  for (int64_t u = c->begin; u < c->end;) {
    const int64_t o = u / inner, i = u % inner, left = inner - i, m = left < c->end - u ? left : c->end - u;
    const int64_t start = reverse ? n - 1 : 0, step = reverse ? -inner : inner;
    const T* s = static_cast<const T*>(c->buf[1]) + (o * n + start) * inner + i;
    T* d = static_cast<T*>(c->buf[0]) + (o * n + start) * inner + i;
    for (int64_t k = 0; k < n; ++k) {
      const T *before = d + (k - 1) * step, *x = s + (k - exclusive) * step;
      T* to = d + k * step;
      if (k == 0) {
        for (int64_t j = 0; j < m; ++j) to[j] = exclusive ? T(0) : s[j];
      } else {
#pragma GCC ivdep
        for (int64_t j = 0; j < m; ++j) to[j] = T(before[j] + x[j]);
      }
    }
    u += m;
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_CUMSUM_ROWS                                                                          \
  {"cumsum", "Sum", "float32", cumsum<float>}, {"cumsum", "Sum", "float64", cumsum<double>},       \
  {"cumsum", "Sum", "int32", cumsum<uint32_t>}, {"cumsum", "Sum", "uint32", cumsum<uint32_t>},     \
  {"cumsum", "Sum", "int64", cumsum<uint64_t>}, {"cumsum", "Sum", "uint64", cumsum<uint64_t>},
#endif
