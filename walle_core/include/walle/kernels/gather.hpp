// Families gather and gather_elements: elements picked by an integer tensor. Negative indices count from the end; an
// index outside the axis reads nothing and gives zeros.
//
// gather, op: bytes per index (4, 8). buf: dst, src, indices. arg: outer, axis_size, inner_bytes, n_indices.
//   dst [outer, n_indices, inner_bytes]. Units: outer * n_indices.
// gather_elements, op: bytes per element. buf: dst, src, indices. arg: rank (<= 16), axis, size of indices[rank],
//   src stride[rank], axis_size, bytes per index. Units: elements of dst.
#ifndef WALLE_KERNELS_GATHER_HPP
#define WALLE_KERNELS_GATHER_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/copy.hpp"

namespace walle { namespace WALLE_ISA { namespace {

// The index to read, or -1.
inline int64_t wrap_index(int64_t i, int64_t size) {
  if (i < 0) i += size;
  return i >= 0 && i < size ? i : -1;
}

template <class I> void gather(const walle_call* c) {
  const int64_t axis = c->arg[1], inner = c->arg[2], count = c->arg[3];
  char* d = static_cast<char*>(c->buf[0]) + c->begin * inner;
  const char* s = static_cast<const char*>(c->buf[1]);
  const I* index = static_cast<const I*>(c->buf[2]);
  for (int64_t u = c->begin; u < c->end; ++u, d += inner) {
    const int64_t i = wrap_index(int64_t(index[u % count]), axis);
    if (i < 0) {
      std::memset(d, 0, size_t(inner));
    } else {
      copy_run(d, s + (u / count * axis + i) * inner, size_t(inner));
    }
  }
}

template <class T> void gather_elements(const walle_call* c) {
  const int64_t rank = c->arg[0], along = c->arg[1];
  const int64_t *size = c->arg + 2, *stride = size + rank;
  const int64_t axis_size = stride[rank];
  const bool wide = stride[rank + 1] == 8;
  T* d = static_cast<T*>(c->buf[0]);
  const T* s = static_cast<const T*>(c->buf[1]);
  int64_t at[16] = {}, rest = c->begin, base = 0;  // base: where the other axes point
  for (int64_t i = rank - 1; i >= 0; --i) {
    if (size[i] == 0) return;
    at[i] = rest % size[i];
    rest /= size[i];
    if (i != along) base += at[i] * stride[i];
  }
  for (int64_t u = c->begin; u < c->end; ++u) {
    const int64_t given = wide ? static_cast<const int64_t*>(c->buf[2])[u] : static_cast<const int32_t*>(c->buf[2])[u];
    const int64_t i = wrap_index(given, axis_size);
    d[u] = i < 0 ? T(0) : s[base + i * stride[along]];
    for (int64_t k = rank - 1; k >= 0; --k) {
      if (k != along) base += stride[k];
      if (++at[k] < size[k]) break;
      if (k != along) base -= size[k] * stride[k];
      at[k] = 0;
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_GATHER_ROWS                                                                                       \
  {"gather", "4", "", gather<int32_t>}, {"gather", "8", "", gather<int64_t>},                                   \
  {"gather_elements", "1", "", gather_elements<uint8_t>}, {"gather_elements", "2", "", gather_elements<uint16_t>}, \
  {"gather_elements", "4", "", gather_elements<uint32_t>}, {"gather_elements", "8", "", gather_elements<uint64_t>},
#endif
