// Gathers along one axis. An index may count from the end; one that is out of range yields zeros and reads nothing.
//
// gather/4, gather/8 (bytes of an index): buf dst, src, indices. arg outer, axis size, bytes of an inner run, indices.
//                  Units: outer * indices.
// gather_elements/1,2,4,8 (bytes of an item): buf dst, src, indices. arg rank, axis, sizes of indices[rank],
//                  src strides[rank], axis size, bytes of an index (4 or 8). Units: elements.
#ifndef WALLE_KERNELS_GATHER_HPP
#define WALLE_KERNELS_GATHER_HPP
#include <cstring>

#include "walle/abi.h"

namespace walle { namespace WALLE_ISA { namespace {

template <class Index> void gather_axis(const walle_call* call) {
  const int64_t size = call->arg[1], run = call->arg[2], count = call->arg[3];
  const char* src = static_cast<const char*>(call->buf[1]);
  char* dst = static_cast<char*>(call->buf[0]);
  const Index* indices = static_cast<const Index*>(call->buf[2]);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    int64_t at = indices[unit % count];
    at += at < 0 ? size : 0;
    if (uint64_t(at) < uint64_t(size)) {
      const char* from = src + (unit / count * size + at) * run;
      if (run == 4) std::memcpy(dst + unit * 4, from, 4);
      else std::memcpy(dst + unit * run, from, size_t(run));
    } else {
      std::memset(dst + unit * run, 0, size_t(run));
    }
  }
}

template <class Item> void gather_elements(const walle_call* call) {
  const int64_t rank = call->arg[0], axis = call->arg[1];
  const int64_t *sizes = call->arg + 2, *strides = sizes + rank;
  const int64_t size = strides[rank], wide = strides[rank + 1];
  const Item* src = static_cast<const Item*>(call->buf[1]);
  Item* dst = static_cast<Item*>(call->buf[0]);
  for (int64_t i = call->begin; i < call->end; ++i) {
    int64_t at = wide == 8 ? static_cast<const int64_t*>(call->buf[2])[i] : static_cast<const int32_t*>(call->buf[2])[i];
    at += at < 0 ? size : 0;
    int64_t offset = at * strides[axis], rest = i;
    for (int64_t d = rank - 1; d >= 0; --d) {
      if (d != axis) offset += rest % sizes[d] * strides[d];
      rest /= sizes[d];
    }
    dst[i] = uint64_t(at) < uint64_t(size) ? src[offset] : Item(0);
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_GATHER_ROWS                                                                    \
  {"gather", "4", "", gather_axis<int32_t>}, {"gather", "8", "", gather_axis<int64_t>},      \
  {"gather_elements", "1", "", gather_elements<uint8_t>},                                    \
  {"gather_elements", "2", "", gather_elements<uint16_t>},                                   \
  {"gather_elements", "4", "", gather_elements<uint32_t>},                                   \
  {"gather_elements", "8", "", gather_elements<uint64_t>},
#endif
