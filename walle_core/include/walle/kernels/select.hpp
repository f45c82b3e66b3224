// Family select: dst[i] = cond[i] ? a[i] : b[i] with broadcasting; moves elements of 1, 2, 4 or 8 bytes.
//
// buf: dst, cond (bool), a, b (dst may be a dense operand of its own size). arg: rank, size[rank], stride_cond[rank],
// stride_a[rank], stride_b[rank]. Units: elements of dst.
#ifndef WALLE_KERNELS_SELECT_HPP
#define WALLE_KERNELS_SELECT_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/kernels/broadcast.hpp"

namespace walle { namespace WALLE_ISA { namespace {

template <class T, bool A, bool B> inline void select_row(T* d, const uint8_t* c, const T* a, const T* b, size_t n) {
  const T a0 = *a, b0 = *b;
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i) {
    const T x = A ? a[i] : a0, y = B ? b[i] : b0;
    d[i] = c[i] ? x : y;
  }
}
template <class T> void select_rows(void* dst, const void* const* src, unsigned dense, size_t n) {
  if (n == 0) return;
  T* d = static_cast<T*>(dst);
  const uint8_t* c = static_cast<const uint8_t*>(src[0]);
  const T *a = static_cast<const T*>(src[1]), *b = static_cast<const T*>(src[2]);
  if (!(dense & 1)) {
    const T* from = *c ? a : b;
    const size_t stride = dense >> (*c ? 1 : 2) & 1;
    for (size_t i = 0; i < n; ++i) d[i] = from[i * stride];
  } else if (dense == 7) {
    select_row<T, true, true>(d, c, a, b, n);
  } else if (dense == 3) {
    select_row<T, true, false>(d, c, a, b, n);
  } else if (dense == 5) {
    select_row<T, false, true>(d, c, a, b, n);
  } else {
    select_row<T, false, false>(d, c, a, b, n);
  }
}
template <class T> void select_of(const walle_call* c) {
  broadcast_rows<3>(c, {sizeof(T), 1, sizeof(T), sizeof(T)}, select_rows<T>);
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_SELECT_ROWS                                                                                  \
  {"select", "Where", "float32", select_of<uint32_t>}, {"select", "Where", "float64", select_of<uint64_t>}, \
  {"select", "Where", "float16", select_of<uint16_t>}, {"select", "Where", "bfloat16", select_of<uint16_t>}, \
  {"select", "Where", "int8", select_of<uint8_t>}, {"select", "Where", "uint8", select_of<uint8_t>},       \
  {"select", "Where", "int16", select_of<uint16_t>}, {"select", "Where", "uint16", select_of<uint16_t>},   \
  {"select", "Where", "int32", select_of<uint32_t>}, {"select", "Where", "uint32", select_of<uint32_t>},   \
  {"select", "Where", "int64", select_of<uint64_t>}, {"select", "Where", "uint64", select_of<uint64_t>},   \
  {"select", "Where", "bool", select_of<uint8_t>},
#endif
