// Walks a dense destination and K broadcast operands, handing contiguous rows to a row function.
//
// A row function sees operands that are dense or one repeated value (bit k of `dense` tells); short rows and other
// strides are first collected into blocks on the stack.
#ifndef WALLE_KERNELS_BROADCAST_HPP
#define WALLE_KERNELS_BROADCAST_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include <cstring>

#include "walle/abi.h"

namespace walle { namespace WALLE_ISA { namespace {

using row_fn = void (*)(void* dst, const void* const* src, unsigned dense, size_t n);

constexpr int kMaxRank = 16;
constexpr int64_t kShortRow = 16;   // below it collecting a block costs less than a call per row
constexpr int64_t kBlock = 512;

// Copies n strided elements; `from` and `to` count in elements of T.
template <class T> inline void collect(char* to, const char* from, int64_t stride, int64_t n) {
  T* d = reinterpret_cast<T*>(to);
  const T* s = reinterpret_cast<const T*>(from);
  for (int64_t i = 0; i < n; ++i) d[i] = s[i * stride];
}
inline void collect(char* to, const char* from, int64_t stride, int64_t n, int64_t item) {
  switch (item) {
    case 1: return collect<uint8_t>(to, from, stride, n);
    case 2: return collect<uint16_t>(to, from, stride, n);
    case 4: return collect<uint32_t>(to, from, stride, n);
    default: return collect<uint64_t>(to, from, stride, n);
  }
}

// arg: rank (<= kMaxRank), size[rank], then stride[rank] per operand. `item`: bytes per element, destination first.
template <int K> void broadcast_rows(const walle_call* c, const int64_t (&item)[K + 1], row_fn row) {
  if (c->begin >= c->end) return;
  const int64_t given = c->arg[0];
  const int64_t* sizes = c->arg + 1;
  int64_t size[kMaxRank] = {1}, stride[K][kMaxRank] = {}, at[kMaxRank];
  int rank = 0;
  for (int64_t i = 0; i < given; ++i) {  // fuse neighbours that every operand walks evenly
    if (sizes[i] == 1) continue;
    bool even = rank > 0;
    for (int k = 0; k < K; ++k)
      even = even && stride[k][rank - 1] == sizes[i] * c->arg[1 + (k + 1) * given + i];
    if (!even) size[rank++] = 1;
    size[rank - 1] *= sizes[i];
    for (int k = 0; k < K; ++k) stride[k][rank - 1] = c->arg[1 + (k + 1) * given + i];
  }
  if (rank == 0) rank = 1;

  const int last = rank - 1;
  const char* src[K];
  for (int k = 0; k < K; ++k) src[k] = static_cast<const char*>(c->buf[1 + k]);
  int64_t rest = c->begin;
  for (int i = last; i >= 0; --i) {
    at[i] = rest % size[i];
    rest /= size[i];
    for (int k = 0; k < K; ++k) src[k] += at[i] * stride[k][i] * item[1 + k];
  }
  const auto advance = [&](int64_t n) {
    at[last] += n;
    for (int k = 0; k < K; ++k) src[k] += n * stride[k][last] * item[1 + k];
    for (int i = last; i > 0 && at[i] == size[i]; --i) {
      at[i] = 0;
      ++at[i - 1];
      for (int k = 0; k < K; ++k) src[k] += (stride[k][i - 1] - size[i] * stride[k][i]) * item[1 + k];
    }
  };

  char* dst = static_cast<char*>(c->buf[0]) + c->begin * item[0];
  unsigned dense = 0;
  bool direct = rank == 1 || size[last] >= kShortRow;
  for (int k = 0; k < K; ++k) {
    dense |= unsigned(stride[k][last] == 1) << k;
    direct = direct && (stride[k][last] == 0 || stride[k][last] == 1);
  }
  int64_t todo = c->end - c->begin;
  if (direct) {
    while (todo > 0) {
      const int64_t left = size[last] - at[last], n = left < todo ? left : todo;
      row(dst, reinterpret_cast<const void* const*>(src), dense, size_t(n));
      dst += n * item[0];
      todo -= n;
      advance(n);
    }
    return;
  }
  alignas(64) char block[K][kBlock * 8];
  const void* blocks[K];
  for (int k = 0; k < K; ++k) blocks[k] = block[k];
  while (todo > 0) {
    int64_t filled = 0;
    const int64_t want = todo < kBlock ? todo : kBlock;
    while (filled < want) {
      const int64_t left = size[last] - at[last], n = left < want - filled ? left : want - filled;
      for (int k = 0; k < K; ++k)
        collect(block[k] + filled * item[1 + k], src[k], stride[k][last], n, item[1 + k]);
      filled += n;
      advance(n);
    }
    row(dst, blocks, (1u << K) - 1u, size_t(filled));
    dst += filled * item[0];
    todo -= filled;
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
