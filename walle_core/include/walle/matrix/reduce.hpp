// Reductions and running sums over the middle of [outer, n, inner], row-major.
#ifndef WALLE_MATRIX_REDUCE_HPP
#define WALLE_MATRIX_REDUCE_HPP
#include "walle/matrix/scalar_math.hpp"
#include "walle/stop.hpp"

namespace walle { namespace matrix {

enum Reduction { kSumOf, kProdOf, kMaxOf, kMinOf, kReductions };
// `stop` is of the run that it belongs to: told to stop, it throws walle_stop_request.
using reduce_fn = void (*)(void* dst, const void* src, int64_t outer, int64_t n, int64_t inner, const walle_stop* stop);

// Null where it is not defined for the type. Maxima and minima need n > 0.
reduce_fn find_reduction(int op, int code);
reduce_fn find_cumulative(int op, int code);  // sums and products; dst is [outer, n, inner]
// dst[o] = sum of |src[o, i] - mean[o]|^2 of floats, inner = 1.
void squared_deviations(void* dst, const void* src, const void* mean, int64_t outer, int64_t n, int code, const walle_stop* stop);

namespace {

template <class T> struct SumOp {
  static T none() { return T(0); }
  static T run(T a, T b) { return T(a + b); }
};
template <class T> struct ProdOp {
  static T none() { return T(1); }
  static T run(T a, T b) {
    if constexpr (kInteger<T>) return T(uint64_t(a) * uint64_t(b));
    else if constexpr (kFloat<T>) return a * b;
    else return mul(a, b);
  }
};
template <class T> struct MaxOp {
  static T none() { return T(0); }
  static T run(T a, T b) { return (a > b || a != a) ? a : b; }
};
template <class T> struct MinOp {
  static T none() { return T(0); }
  static T run(T a, T b) { return (a < b || a != a) ? a : b; }
};

// Independent lanes, so that the compiler vectorises and no sum waits for the one before; halves of halves beyond 1,024
// elements, so that the error of a sum grows with the logarithm of its length.
template <class T, class Op> T reduce_line(const T* p, int64_t n, walle_stop_watch& watch) {
  constexpr int kLanes = 64 / int(sizeof(T)) * 2;
  if (n < kLanes) {
    if (n == 0) return Op::none();
    T all = p[0];
    for (int64_t i = 1; i < n; ++i) all = Op::run(all, p[i]);
    return all;
  }
  if (n > 1024) {
    const int64_t half = n / 2 & ~int64_t(kLanes - 1);
    return Op::run(reduce_line<T, Op>(p, half, watch), reduce_line<T, Op>(p + half, n - half, watch));
  }
  watch.work(n);
  T lane[kLanes];
  for (int j = 0; j < kLanes; ++j) lane[j] = p[j];
  int64_t i = kLanes;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lane[j] = Op::run(lane[j], p[i + j]);
  for (int j = 0; i < n; ++i, ++j) lane[j] = Op::run(lane[j], p[i]);
  for (int width = kLanes / 2; width; width /= 2)
    for (int j = 0; j < width; ++j) lane[j] = Op::run(lane[j], lane[j + width]);
  return lane[0];
}

template <class T, class Op>
void reduce_of(void* dst, const void* src, int64_t outer, int64_t n, int64_t inner, const walle_stop* stop) {
  walle_stop_watch watch(stop);
  T* d = static_cast<T*>(dst);
  const T* s = static_cast<const T*>(src);
  if (inner == 1) {
    for (int64_t o = 0; o < outer; ++o) d[o] = reduce_line<T, Op>(s + o * n, n, watch), watch.work(1);
    return;
  }
  constexpr int64_t kBlock = 4096 / int64_t(sizeof(T));
  for (int64_t o = 0; o < outer; ++o, d += inner, s += n * inner) {
    if (n == 0) {
      for (int64_t i = 0; i < inner; ++i) d[i] = Op::none();
      continue;
    }
    for (int64_t i0 = 0; i0 < inner; i0 += kBlock) {
      const int64_t end = inner - i0 < kBlock ? inner : i0 + kBlock;
      for (int64_t i = i0; i < end; ++i) d[i] = s[i];
      int64_t k = 1;
      for (; k + 4 <= n; k += 4, watch.work(4 * (end - i0))) {  // four rows at once: dst is read and written once for them
        const T *p = s + k * inner, *q = p + inner, *r = q + inner, *t = r + inner;
#pragma GCC ivdep
        for (int64_t i = i0; i < end; ++i)
          d[i] = Op::run(d[i], Op::run(Op::run(p[i], q[i]), Op::run(r[i], t[i])));
      }
      for (; k < n; ++k) {
        const T* row = s + k * inner;
#pragma GCC ivdep
        for (int64_t i = i0; i < end; ++i) d[i] = Op::run(d[i], row[i]);
      }
    }
  }
}
template <class T, class Op>
void cumulative_of(void* dst, const void* src, int64_t outer, int64_t n, int64_t inner, const walle_stop* stop) {
  walle_stop_watch watch(stop);
  T* d = static_cast<T*>(dst);
  const T* s = static_cast<const T*>(src);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t k = 0; k < n; ++k, d += inner, s += inner, watch.work(inner))
      for (int64_t i = 0; i < inner; ++i) d[i] = k ? Op::run(d[i - inner], s[i]) : s[i];
}

template <class T> reduce_fn ordered(int op) {
  switch (op) {
    case kSumOf: return reduce_of<T, SumOp<T>>;
    case kProdOf: return reduce_of<T, ProdOp<T>>;
    case kMaxOf: return reduce_of<T, MaxOp<T>>;
    case kMinOf: return reduce_of<T, MinOp<T>>;
    default: return nullptr;
  }
}
template <class T> reduce_fn unordered(int op) {
  switch (op) {
    case kSumOf: return reduce_of<T, SumOp<T>>;
    case kProdOf: return reduce_of<T, ProdOp<T>>;
    default: return nullptr;
  }
}
template <class T> reduce_fn running(int op) {
  return op == kSumOf ? cumulative_of<T, SumOp<T>> : op == kProdOf ? cumulative_of<T, ProdOp<T>> : nullptr;
}

template <class T>
void deviations(void* dst, const void* src, const void* mean, int64_t outer, int64_t n, const walle_stop* stop) {
  walle_stop_watch watch(stop);
  T* d = static_cast<T*>(dst);
  const T *s = static_cast<const T*>(src), *m = static_cast<const T*>(mean);
  T block[2048];
  for (int64_t o = 0; o < outer; ++o, s += n) {
    T all = 0;
    for (int64_t i = 0; i < n; i += 2048) {
      const int64_t some = n - i < 2048 ? n - i : 2048;
      for (int64_t k = 0; k < some; ++k) block[k] = (s[i + k] - m[o]) * (s[i + k] - m[o]);
      all += reduce_line<T, SumOp<T>>(block, some, watch);
    }
    d[o] = all;
  }
}

}  // namespace
}}  // namespace walle::matrix
#endif
