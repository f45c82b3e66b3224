// Family topk: the k largest or smallest along the middle axis of [outer, n, inner], best first, equal ones by index.
//
// buf: values [outer, k, inner], indices (int64, same shape), src. arg: outer, n, inner, k (0 <= k <= n), sorted (the
// result is sorted anyway). Units: outer * inner. NaN counts as the largest value.
// A heap of the k best with the worst on top lives in the output itself; sorting it in place ends the work: O(n log k).
#ifndef WALLE_KERNELS_TOPK_HPP
#define WALLE_KERNELS_TOPK_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"

namespace walle { namespace WALLE_ISA { namespace {

template <class T, bool Largest> struct TopK {
  T* value;
  int64_t* index;
  int64_t stride;

  static bool beats(T a, int64_t i, T b, int64_t j) {  // a at i comes before b at j
    const bool a_nan = a != a, b_nan = b != b;
    if (a_nan || b_nan) {
      if (a_nan && b_nan) return i < j;
      return a_nan == Largest;
    }
    return a == b ? i < j : (Largest ? a > b : a < b);
  }
  // Puts (x, i) at `at` or below it in a heap of n; a parent is beaten by its children.
  void sift(int64_t at, int64_t n, T x, int64_t i) {
    for (;;) {
      int64_t child = 2 * at + 1;
      if (child >= n) break;
      if (child + 1 < n && beats(value[child * stride], index[child * stride], value[(child + 1) * stride], index[(child + 1) * stride]))
        ++child;
      if (!beats(x, i, value[child * stride], index[child * stride])) break;
      value[at * stride] = value[child * stride];
      index[at * stride] = index[child * stride];
      at = child;
    }
    value[at * stride] = x;
    index[at * stride] = i;
  }
  void run(const T* s, int64_t n, int64_t k) {
    for (int64_t i = 0; i < k; ++i) value[i * stride] = s[i * stride], index[i * stride] = i;
    for (int64_t i = k / 2; i-- > 0;) sift(i, k, value[i * stride], index[i * stride]);
    for (int64_t i = k; i < n; ++i) {
      const T x = s[i * stride];
      if (beats(x, i, value[0], index[0])) sift(0, k, x, i);
    }
    for (int64_t end = k - 1; end > 0; --end) {  // the worst one goes last
      const T x = value[end * stride];
      const int64_t i = index[end * stride];
      value[end * stride] = value[0];
      index[end * stride] = index[0];
      sift(0, end, x, i);
    }
  }
};

template <class T, bool Largest> void topk(const walle_call* c) {
  const int64_t n = c->arg[1], inner = c->arg[2], k = c->arg[3];
  if (k <= 0) return;
  for (int64_t u = c->begin; u < c->end; ++u) {
    const int64_t o = u / inner, i = u % inner, to = o * k * inner + i;
    TopK<T, Largest> heap = {static_cast<T*>(c->buf[0]) + to, static_cast<int64_t*>(c->buf[1]) + to, inner};
    heap.run(static_cast<const T*>(c->buf[2]) + o * n * inner + i, n, k);
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_TOPK_OF(dtype, type) \
  {"topk", "Largest", #dtype, topk<type, true>}, {"topk", "Smallest", #dtype, topk<type, false>},
#define WALLE_TOPK_ROWS                                                                                   \
  WALLE_TOPK_OF(float32, float) WALLE_TOPK_OF(float64, double) WALLE_TOPK_OF(int8, int8_t)                \
  WALLE_TOPK_OF(uint8, uint8_t) WALLE_TOPK_OF(int16, int16_t) WALLE_TOPK_OF(uint16, uint16_t)             \
  WALLE_TOPK_OF(int32, int32_t) WALLE_TOPK_OF(uint32, uint32_t) WALLE_TOPK_OF(int64, int64_t)             \
  WALLE_TOPK_OF(uint64, uint64_t)
#endif
