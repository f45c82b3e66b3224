// A chain of elementwise operators in one pass: block by block, so that what is between two operators stays in the cache.
#ifndef WALLE_MATRIX_CHAIN_HPP
#define WALLE_MATRIX_CHAIN_HPP
#include <stdlib.h>
#include <memory>
#include <new>

#include "walle/matrix/walk.hpp"

namespace walle { namespace matrix {

constexpr int64_t kChainBytes = 4096;  // of a block: a handful of them stay in the first-level cache

// A source or destination >= 0 is a register; a source below is operand -1 - s; destination -1 is the result.
struct ChainStep {
  unary_row one;  // null for two operands
  binary_row two;
  walle_kernel_fn engine;
  int32_t dst, a, b, item_dst;
};
// period: 0 for one value that repeats, else the elements after which a dense operand starts again (n: never).
struct ChainOperand {
  const char* data;
  int64_t period, item;
};

// Block i0..i0+n of an operand, collected into `room` where it wraps around.
inline const char* chain_block(const ChainOperand& o, int64_t i0, int64_t n, char* room) {
  if (o.period == 0) return o.data;
  int64_t at = i0 % o.period;
  if (at + n <= o.period) return o.data + at * o.item;
  for (int64_t i = 0; i < n;) {
    const int64_t run = o.period - at < n - i ? o.period - at : n - i;
    memcpy(room + i * o.item, o.data + at * o.item, size_t(run * o.item));
    i += run, at = 0;
  }
  return room;
}

// Throws std::bad_alloc and walle_stop_request.
inline void run_chain(const ChainStep* steps, int count, const ChainOperand* operands, int registers, int64_t widest,
                      int64_t n, char* dst) {
  const int64_t block = kChainBytes / widest, size = kChainBytes + 64;  // apart from each other's place in a page
  const std::unique_ptr<char, void (*)(void*)> memory(static_cast<char*>(malloc(size_t((registers + 2) * size + 64))), free);
  if (!memory) throw std::bad_alloc();
  walle_stop_watch watch;
  char* const first = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(memory.get()) + 63) & ~uintptr_t(63));
  char* const rooms = first + registers * size;
  for (int64_t i0 = 0; i0 < n; i0 += block) {
    const int64_t some = n - i0 < block ? n - i0 : block;
    watch.work(some * count);
    for (int k = 0; k < count; ++k) {
      const ChainStep& s = steps[k];
      char* to = s.dst < 0 ? dst + i0 * s.item_dst : first + s.dst * size;
      const char* a = s.a >= 0 ? first + s.a * size : chain_block(operands[-1 - s.a], i0, some, rooms);
      const bool dense_a = s.a >= 0 || operands[-1 - s.a].period;
      if (s.one) {
        if (!dense_a) {  // one value: a block of it
          repeat(rooms, a, some, operands[-1 - s.a].item);
          a = rooms;
        }
        Row1{s.one, s.engine}(to, a, some);
        continue;
      }
      const char* b = s.b >= 0 ? first + s.b * size : chain_block(operands[-1 - s.b], i0, some, rooms + size);
      const bool dense_b = s.b >= 0 || operands[-1 - s.b].period;
      Row2{s.two, s.engine}(to, a, b, some, int(dense_a) | int(dense_b) << 1);
    }
  }
}

}}  // namespace walle::matrix
#endif
