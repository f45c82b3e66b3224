// Family reduce: folds the middle axis of [outer, n, inner].
//
// buf: dst [outer, inner], src. arg: outer, n, inner, (ArgMax, ArgMin: select_last). ArgMax and ArgMin give int64.
// Units: elements of dst. Max and Min keep NaN; to ArgMax and ArgMin NaN is the extreme. Float sums are blocked, so
// that the error hardly grows with n; integer sums wrap; integer means truncate toward zero.
#ifndef WALLE_KERNELS_REDUCE_HPP
#define WALLE_KERNELS_REDUCE_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/rows.hpp"

namespace walle { namespace WALLE_ISA { namespace {

// Calls part(o, i, m) for the columns i .. i+m of each outer index that the units cover.
template <class F> inline void each_outer(const walle_call* c, F part) {
  const int64_t inner = c->arg[2];
  for (int64_t u = c->begin; u < c->end;) {
    const int64_t o = u / inner, i = u % inner, left = inner - i, m = left < c->end - u ? left : c->end - u;
    part(o, i, m);
    u += m;
  }
}

// Calls one(d, s, m) for runs of m columns of floats, whose rows are `inner` apart.
template <class One> inline void float_columns(const walle_call* c, One one) {
  const int64_t n = c->arg[1], inner = c->arg[2];
  each_outer(c, [&](int64_t o, int64_t i, int64_t m) {
    const float* s = static_cast<const float*>(c->buf[1]) + o * n * inner + i;
    float* d = static_cast<float*>(c->buf[0]) + o * inner + i;
    one(d, s, m);
  });
}

// Four vectors of columns advance together: enough independent sums, and whole cache lines per row.
template <class Step>
inline void fold_columns(float* d, const float* s, int64_t n, int64_t inner, int64_t m, float init, int64_t block, Step step,
                         float scale) {
  constexpr int N = F32::N;
  int64_t i = 0;
  for (; i + 4 * N <= m; i += 4 * N) {
    F32 t[4], a[4];
    for (int v = 0; v < 4; ++v) t[v] = val(init);
    for (int64_t k = 0; k < n;) {
      const int64_t stop = n - k < block ? n : k + block;
      for (int v = 0; v < 4; ++v) a[v] = val(init);
      for (; k < stop; ++k)
        for (int v = 0; v < 4; ++v) a[v] = step(a[v], F32::load(s + k * inner + i + v * N), true);
      for (int v = 0; v < 4; ++v) t[v] = step(t[v], a[v], false);
    }
    for (int v = 0; v < 4; ++v) mul(t[v], val(scale)).store(d + i + v * N);
  }
  for (; i < m; i += N) {
    const size_t left = m - i < N ? size_t(m - i) : size_t(N);
    F32 t = val(init);
    for (int64_t k = 0; k < n;) {
      const int64_t stop = n - k < block ? n : k + block;
      F32 a = val(init);
      for (; k < stop; ++k) a = step(a, F32::load(s + k * inner + i, left), true);
      t = step(t, a, false);
    }
    mul(t, val(scale)).store(d + i, left);
  }
}

// Sum, Mean, SumSquare, L1.
template <class Map, bool Mean> void reduce_sum_f32(const walle_call* c) {
  const int64_t n = c->arg[1], inner = c->arg[2];
  const float* s = static_cast<const float*>(c->buf[1]);
  float* d = static_cast<float*>(c->buf[0]);
  if (inner == 1) {
    for (int64_t o = c->begin; o < c->end; ++o) d[o] = float(sum_row<Map>(s + o * n, n) / (Mean ? double(n) : 1.0));
    return;
  }
  const auto step = [](F32 a, F32 x, bool fresh) { return add(a, fresh ? Map::map(x) : x); };
  float_columns(c, [&](float* to, const float* from, int64_t m) {
    fold_columns(to, from, n, inner, m, 0.0f, 128, step, Mean ? 1.0f / float(n) : 1.0f);
  });
}
template <class Op> void reduce_fold_f32(const walle_call* c) {
  const int64_t n = c->arg[1], inner = c->arg[2];
  const float* s = static_cast<const float*>(c->buf[1]);
  float* d = static_cast<float*>(c->buf[0]);
  if (inner == 1) {
    for (int64_t o = c->begin; o < c->end; ++o) d[o] = fold_row<Op>(s + o * n, n);
    return;
  }
  const auto step = [](F32 a, F32 x, bool) { return Op::vector(a, x); };
  float_columns(c, [&](float* to, const float* from, int64_t m) {
    fold_columns(to, from, n, inner, m, Op::neutral, INT64_MAX, step, 1.0f);
  });
}
inline float finite_or_zero(float x) { return x - x == 0.0f ? x : 0.0f; }
inline void reduce_logsumexp_f32(const walle_call* c) {
  const int64_t n = c->arg[1], inner = c->arg[2];
  const float* s = static_cast<const float*>(c->buf[1]);
  float* d = static_cast<float*>(c->buf[0]);
  if (inner == 1) {
    for (int64_t o = c->begin; o < c->end; ++o) {
      const float shift = finite_or_zero(fold_row<MaxFold>(s + o * n, n));
      d[o] = float(double(shift) + ::log(sum_exp(s + o * n, nullptr, n, shift)));
    }
    return;
  }
  float_columns(c, [&](float* to, const float* from, int64_t m) {
    for (int64_t i = 0; i < m; i += F32::N) {
      const size_t left = m - i < F32::N ? size_t(m - i) : size_t(F32::N);
      F32 top = val(-kInf), sum = val(0.0f);
      for (int64_t k = 0; k < n; ++k) top = max(F32::load(from + k * inner + i, left), top);
      top = select(lt(abs(top), val(kInf)), top, val(0.0f));
      for (int64_t k = 0; k < n; ++k) sum = add(sum, exp(sub(F32::load(from + k * inner + i, left), top)));
      add(top, log(sum)).store(to + i, left);
    }
  });
}

// Any dtype: up to 64 columns advance together; A is the accumulator.
template <class T, class A> struct SumOf { static constexpr A init = 0; static A step(A a, T x) { return A(a + A(x)); } };
template <class T, class A> struct SquareOf {
  static constexpr A init = 0;
  static A step(A a, T x) { return A(a + A(x) * A(x)); }
};
template <class T, class A> struct L1Of {
  static constexpr A init = 0;
  static A step(A a, T x) { return A(a + (x < 0 ? A(0) - A(x) : A(x))); }
};
template <class T, class A> struct ProdOf { static constexpr A init = 1; static A step(A a, T x) { return A(a * A(x)); } };
template <class T> struct Ends;
#define WALLE_ENDS(T, lo, hi) template <> struct Ends<T> { static constexpr T low = lo, high = hi; };
WALLE_ENDS(double, -__builtin_inf(), __builtin_inf()) WALLE_ENDS(float, -kInf, kInf)
WALLE_ENDS(int8_t, INT8_MIN, INT8_MAX) WALLE_ENDS(int16_t, INT16_MIN, INT16_MAX) WALLE_ENDS(int32_t, INT32_MIN, INT32_MAX)
WALLE_ENDS(int64_t, INT64_MIN, INT64_MAX) WALLE_ENDS(uint8_t, 0, UINT8_MAX) WALLE_ENDS(uint16_t, 0, UINT16_MAX)
WALLE_ENDS(uint32_t, 0, UINT32_MAX) WALLE_ENDS(uint64_t, 0, UINT64_MAX)
#undef WALLE_ENDS
template <class T, class A> struct MaxOf {
  static constexpr A init = Ends<T>::low;
  static A step(A a, T x) { return a > x || a != a ? a : x; }
};
template <class T, class A> struct MinOf {
  static constexpr A init = Ends<T>::high;
  static A step(A a, T x) { return a < x || a != a ? a : x; }
};

struct AllOf { static constexpr uint8_t init = 1; static uint8_t step(uint8_t a, uint8_t x) { return a < x ? a : x; } };

template <class T, class A, class Op, bool Mean> void reduce_of(const walle_call* c) {
  constexpr int W = 64;
  const int64_t n = c->arg[1], inner = c->arg[2];
  each_outer(c, [&](int64_t o, int64_t first, int64_t count) {
    const T* s = static_cast<const T*>(c->buf[1]) + o * n * inner + first;
    T* d = static_cast<T*>(c->buf[0]) + o * inner + first;
    for (int64_t i = 0; i < count; i += W) {
      const int64_t m = count - i < W ? count - i : W;
      A a[W];
      for (int64_t j = 0; j < m; ++j) a[j] = Op::init;
      for (int64_t k = 0; k < n; ++k)
        for (int64_t j = 0; j < m; ++j) a[j] = Op::step(a[j], s[k * inner + i + j]);
      for (int64_t j = 0; j < m; ++j) d[i + j] = T(Mean ? A(a[j] / A(n)) : a[j]);
    }
  });
}
inline void reduce_logsumexp_f64(const walle_call* c) {
  const int64_t n = c->arg[1], inner = c->arg[2];
  const double* s = static_cast<const double*>(c->buf[1]);
  double* d = static_cast<double*>(c->buf[0]);
  for (int64_t u = c->begin; u < c->end; ++u) {
    const double* p = s + u / inner * n * inner + u % inner;
    double top = -__builtin_inf(), sum = 0;
    for (int64_t k = 0; k < n; ++k) top = p[k * inner] > top ? p[k * inner] : top;
    top = top - top == 0 ? top : 0;
    for (int64_t k = 0; k < n; ++k) sum += ::exp(p[k * inner] - top);
    d[u] = top + ::log(sum);
  }
}

template <class T, bool Max> inline bool beats(T x, T best, bool last) {
  if (best != best) return last && x != x;
  if (x != x) return true;
  return (Max ? x > best : x < best) || (last && x == best);
}
// The contiguous case for floats: the extreme value first, then where it is.
template <bool Max> inline int64_t arg_row(const float* s, int64_t n, bool last) {
  const float best = Max ? fold_row<MaxFold>(s, n) : fold_row<MinFold>(s, n);
  const bool nan = best != best;
  if (last) {
    for (int64_t k = n - 1; k > 0; --k)
      if (nan ? s[k] != s[k] : s[k] == best) return k;
    return 0;
  }
  const F32 b = val(best);
  int64_t k = 0;
  for (; k + F32::N <= n; k += F32::N) {
    const F32 x = F32::load(s + k);
    if (any(nan ? isnan(x) : eq(x, b))) break;
  }
  for (; k < n; ++k)
    if (nan ? s[k] != s[k] : s[k] == best) return k;
  return 0;
}
template <class T, bool Max> void reduce_arg(const walle_call* c) {
  constexpr int W = 32;
  const int64_t n = c->arg[1], inner = c->arg[2];
  const bool last = c->arg[3] != 0;
  each_outer(c, [&](int64_t o, int64_t first, int64_t count) {
    const T* s = static_cast<const T*>(c->buf[1]) + o * n * inner + first;
    int64_t* d = static_cast<int64_t*>(c->buf[0]) + o * inner + first;
    if constexpr (sizeof(T) == 4 && T(0.5f) != T(0)) {
      if (inner == 1) {
        d[0] = arg_row<Max>(s, n, last);
        return;
      }
    }
    for (int64_t i = 0; i < count; i += W) {
      const int64_t m = count - i < W ? count - i : W;
      T best[W];
      for (int64_t j = 0; j < m; ++j) best[j] = n > 0 ? s[i + j] : T(0), d[i + j] = 0;
      for (int64_t k = 1; k < n; ++k) {
        for (int64_t j = 0; j < m; ++j) {
          const T x = s[k * inner + i + j];
          const bool better = beats<T, Max>(x, best[j], last);
          best[j] = better ? x : best[j];
          d[i + j] = better ? k : d[i + j];
        }
      }
    }
  });
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_REDUCE_ENDS(dtype, type)                                                \
  {"reduce", "Max", #dtype, reduce_of<type, type, MaxOf<type, type>, false>},         \
  {"reduce", "Min", #dtype, reduce_of<type, type, MinOf<type, type>, false>},
#define WALLE_REDUCE_ARG(dtype, type)                                                 \
  {"reduce", "ArgMax", #dtype, reduce_arg<type, true>}, {"reduce", "ArgMin", #dtype, reduce_arg<type, false>},
#define WALLE_REDUCE_SUMS(dtype, type, sum, mean)                                     \
  {"reduce", "Sum", #dtype, reduce_of<type, sum, SumOf<type, sum>, false>},           \
  {"reduce", "Prod", #dtype, reduce_of<type, sum, ProdOf<type, sum>, false>},         \
  {"reduce", "SumSquare", #dtype, reduce_of<type, sum, SquareOf<type, sum>, false>},  \
  {"reduce", "L1", #dtype, reduce_of<type, sum, L1Of<type, sum>, false>},             \
  {"reduce", "Mean", #dtype, reduce_of<type, mean, SumOf<type, mean>, true>},
#define WALLE_REDUCE_ROWS                                                                                  \
  {"reduce", "Sum", "float32", reduce_sum_f32<Plain, false>},                                              \
  {"reduce", "Mean", "float32", reduce_sum_f32<Plain, true>},                                              \
  {"reduce", "SumSquare", "float32", reduce_sum_f32<Square, false>},                                       \
  {"reduce", "L1", "float32", reduce_sum_f32<Magnitude, false>},                                           \
  {"reduce", "Max", "float32", reduce_fold_f32<MaxFold>},                                                  \
  {"reduce", "Min", "float32", reduce_fold_f32<MinFold>},                                                  \
  {"reduce", "Prod", "float32", reduce_fold_f32<ProdFold>},                                                \
  {"reduce", "LogSumExp", "float32", reduce_logsumexp_f32},                                                \
  {"reduce", "LogSumExp", "float64", reduce_logsumexp_f64},                                                \
  WALLE_REDUCE_SUMS(float64, double, double, double) WALLE_REDUCE_ENDS(float64, double)                    \
  WALLE_REDUCE_SUMS(int32, int32_t, uint32_t, double) WALLE_REDUCE_SUMS(uint32, uint32_t, uint32_t, double) \
  WALLE_REDUCE_SUMS(int64, int64_t, uint64_t, double) WALLE_REDUCE_SUMS(uint64, uint64_t, uint64_t, double) \
  WALLE_REDUCE_ENDS(int8, int8_t) WALLE_REDUCE_ENDS(uint8, uint8_t) \
  {"reduce", "Max", "bool", reduce_of<uint8_t, uint8_t, MaxOf<uint8_t, uint8_t>, false>},                  \
  {"reduce", "Min", "bool", reduce_of<uint8_t, uint8_t, AllOf, false>},                                    \
  WALLE_REDUCE_ENDS(int16, int16_t) WALLE_REDUCE_ENDS(uint16, uint16_t)                                    \
  WALLE_REDUCE_ENDS(int32, int32_t) WALLE_REDUCE_ENDS(uint32, uint32_t)                                    \
  WALLE_REDUCE_ENDS(int64, int64_t) WALLE_REDUCE_ENDS(uint64, uint64_t)                                    \
  WALLE_REDUCE_ARG(float32, float) WALLE_REDUCE_ARG(float64, double)                                       \
  WALLE_REDUCE_ARG(int8, int8_t) WALLE_REDUCE_ARG(uint8, uint8_t)                                          \
  WALLE_REDUCE_ARG(int16, int16_t) WALLE_REDUCE_ARG(uint16, uint16_t)                                      \
  WALLE_REDUCE_ARG(int32, int32_t) WALLE_REDUCE_ARG(uint32, uint32_t)                                      \
  WALLE_REDUCE_ARG(int64, int64_t) WALLE_REDUCE_ARG(uint64, uint64_t)
#endif
