// Running sums along one axis.
//
// cumsum/Sum: buf dst, src. arg outer, n, inner, exclusive, reverse. Units: outer * inner lines of n elements.
#ifndef WALLE_KERNELS_CUMSUM_HPP
#define WALLE_KERNELS_CUMSUM_HPP
#include "walle/abi.h"

namespace walle { namespace WALLE_ISA { namespace {

template <class T> void cumsum_lines(const walle_call* call) {
  const int64_t n = call->arg[1], inner = call->arg[2], exclusive = call->arg[3], reverse = call->arg[4];
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    int64_t at = unit / inner * n * inner + unit % inner + (reverse ? (n - 1) * inner : 0);
    const int64_t step = reverse ? -inner : inner;
    T sum = T(0);
    for (int64_t i = 0; i < n; ++i, at += step) {
      const T x = static_cast<const T*>(call->buf[1])[at];
      if (exclusive) static_cast<T*>(call->buf[0])[at] = sum;
      sum = T(sum + x);
      if (!exclusive) static_cast<T*>(call->buf[0])[at] = sum;
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_CUMSUM_ROWS                                                                                 \
  {"cumsum", "Sum", "float32", cumsum_lines<float>}, {"cumsum", "Sum", "float64", cumsum_lines<double>},  \
  {"cumsum", "Sum", "int32", cumsum_lines<uint32_t>}, {"cumsum", "Sum", "int64", cumsum_lines<uint64_t>},
#endif
