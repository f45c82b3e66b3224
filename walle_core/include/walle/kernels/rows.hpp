// Sums and maxima over one contiguous row of floats: shared by reduce, softmax and norm.
#ifndef WALLE_KERNELS_ROWS_HPP
#define WALLE_KERNELS_ROWS_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/kernels/math.hpp"

namespace walle { namespace WALLE_ISA { namespace {

inline F32 max_keep_nan(F32 a, F32 b) { return select(isnan(a), a, max(a, b)); }
inline F32 min_keep_nan(F32 a, F32 b) { return select(isnan(a), a, min(a, b)); }

struct MaxFold {
  static constexpr float neutral = -kInf;
  static F32 vector(F32 a, F32 b) { return max_keep_nan(a, b); }
  static float lanes(F32 v) { return any(isnan(v)) ? kNaN : reduce_max(v); }
};
struct MaxDropNaN {  // where NaN makes the result NaN in another way
  static constexpr float neutral = -kInf;
  static F32 vector(F32 a, F32 b) { return max(b, a); }
  static float lanes(F32 v) { return reduce_max(v); }
};
struct MinFold {
  static constexpr float neutral = kInf;
  static F32 vector(F32 a, F32 b) { return min_keep_nan(a, b); }
  static float lanes(F32 v) { return any(isnan(v)) ? kNaN : reduce_min(v); }
};
struct ProdFold {
  static constexpr float neutral = 1.0f;
  static F32 vector(F32 a, F32 b) { return mul(a, b); }
  static float lanes(F32 v) {
    float lane[F32::N], y = 1.0f;
    v.store(lane);
    for (int i = 0; i < F32::N; ++i) y *= lane[i];
    return y;
  }
};

// f folded over s[0 .. n); neutral if n is 0.
template <class Op> inline float fold_row(const float* s, int64_t n) {
  constexpr int N = F32::N;
  F32 a = val(Op::neutral), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 4 * N <= n; i += 4 * N) {
    a = Op::vector(a, F32::load(s + i));
    b = Op::vector(b, F32::load(s + i + N));
    c = Op::vector(c, F32::load(s + i + 2 * N));
    d = Op::vector(d, F32::load(s + i + 3 * N));
  }
  for (; i + N <= n; i += N) a = Op::vector(a, F32::load(s + i));
  if (i < n) b = Op::vector(b, select(first_lanes(size_t(n - i)), F32::load(s + i, size_t(n - i)), val(Op::neutral)));
  return Op::lanes(Op::vector(Op::vector(a, b), Op::vector(c, d)));
}

struct Plain { static F32 map(F32 x) { return x; } };
struct Square { static F32 map(F32 x) { return mul(x, x); } };
struct Magnitude { static F32 map(F32 x) { return abs(x); } };

// Sum of map(x) with map(0) == 0. Blocks of 2048 are summed in float lanes, the blocks' sums in double, so that the
// error does not grow with n.
template <class Map> inline double sum_row(const float* s, int64_t n) {
  constexpr int N = F32::N;
  double total = 0;
  for (int64_t i = 0; i < n;) {
    const int64_t stop = n - i < 2048 ? n : i + 2048;
    F32 a = val(0.0f), b = a, c = a, d = a;
    for (; i + 4 * N <= stop; i += 4 * N) {
      a = add(a, Map::map(F32::load(s + i)));
      b = add(b, Map::map(F32::load(s + i + N)));
      c = add(c, Map::map(F32::load(s + i + 2 * N)));
      d = add(d, Map::map(F32::load(s + i + 3 * N)));
    }
    for (; i + N <= stop; i += N) a = add(a, Map::map(F32::load(s + i)));
    if (i < stop) b = add(b, Map::map(F32::load(s + i, size_t(stop - i))));
    i = stop;
    total += double(reduce_add(add(add(a, b), add(c, d))));
  }
  return total;
}

// Sum of exp(x - shift); stores the terms if d is not null.
inline double sum_exp(const float* s, float* d, int64_t n, float shift) {
  constexpr int N = F32::N;
  const F32 m = val(shift);
  double total = 0;
  for (int64_t i = 0; i < n;) {
    const int64_t stop = n - i < 4096 ? n : i + 4096;
    F32 a = val(0.0f), b = a;
    for (; i + 2 * N <= stop; i += 2 * N) {
      const F32 x = exp(sub(F32::load(s + i), m)), y = exp(sub(F32::load(s + i + N), m));
      if (d) x.store(d + i), y.store(d + i + N);
      a = add(a, x);
      b = add(b, y);
    }
    for (; i < stop; i += N) {
      const size_t left = stop - i < N ? size_t(stop - i) : size_t(N);
      const F32 x = exp(sub(F32::load(s + i, left), m));
      if (d) x.store(d + i, left);
      a = add(a, select(first_lanes(left), x, val(0.0f)));
    }
    i = stop;
    total += double(reduce_add(add(a, b)));
  }
  return total;
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
