// Family fill: dst[i] = one value. op: bytes per element. buf: dst. arg: the value's bits. Units: elements.
#ifndef WALLE_KERNELS_FILL_HPP
#define WALLE_KERNELS_FILL_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include <cstring>

#include "walle/abi.h"

namespace walle { namespace WALLE_ISA { namespace {

template <class T> void fill(const walle_call* c) {
  T* d = static_cast<T*>(c->buf[0]);
  T value;
  std::memcpy(&value, c->arg, sizeof(T));  // little-endian: the low bytes come first
  for (int64_t i = c->begin; i < c->end; ++i) d[i] = value;
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_FILL_ROWS                                                      \
  {"fill", "1", "", fill<uint8_t>}, {"fill", "2", "", fill<uint16_t>},       \
  {"fill", "4", "", fill<uint32_t>}, {"fill", "8", "", fill<uint64_t>},
#endif
