// Family convert: dst[i] = src[i] in another dtype. op: destination dtype; dtype: source.
//
// Real to integer truncates (out of range is unspecified), to bool is != 0, to float16 and bfloat16 rounds to nearest
// even. buf: dst, src (dst may be src where the sizes are equal). arg: none. Units: elements.
#ifndef WALLE_KERNELS_CONVERT_HPP
#define WALLE_KERNELS_CONVERT_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include <cstring>

#include "walle/abi.h"

namespace walle { namespace WALLE_ISA { namespace {

struct float16_t { uint16_t bits; };
struct bfloat16_t { uint16_t bits; };
struct bool_t { uint8_t bits; };

template <class T> struct Kind { static constexpr bool real = false; using width = T; };
template <> struct Kind<float> { static constexpr bool real = true; using width = float; };
template <> struct Kind<double> { static constexpr bool real = true; using width = double; };
template <> struct Kind<int8_t> { static constexpr bool real = false; using width = uint8_t; };
template <> struct Kind<int16_t> { static constexpr bool real = false; using width = uint16_t; };
template <> struct Kind<int32_t> { static constexpr bool real = false; using width = uint32_t; };
template <> struct Kind<int64_t> { static constexpr bool real = false; using width = uint64_t; };

// Between plain C types.
template <class D, class S> struct Cast {
  static D run(S x) {
    if constexpr (!Kind<S>::real || Kind<D>::real) {
      return D(x);
    } else if constexpr (sizeof(D) < 4 || (sizeof(D) == 4 && D(-1) < D(0))) {
      return D(int32_t(x));
    } else if constexpr (sizeof(D) == 4 || D(-1) < D(0)) {
      return D(int64_t(x));
    } else {
      return x < S(9223372036854775808.0) ? D(int64_t(x)) : D(int64_t(x - S(9223372036854775808.0))) ^ D(1) << 63;
    }
  }
};
template <class S> struct Cast<bool_t, S> { static bool_t run(S x) { return {uint8_t(x != 0)}; } };
template <class D> struct Cast<D, bool_t> { static D run(bool_t x) { return D(x.bits); } };
template <> struct Cast<float, bfloat16_t> {
  static float run(bfloat16_t x) {
    const uint32_t bits = uint32_t(x.bits) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
  }
};
template <> struct Cast<bfloat16_t, float> {
  static bfloat16_t run(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return {uint16_t(x != x ? bits >> 16 | 0x40u : rounded)};
  }
};

template <class D, class S> inline void cast_block(D* d, const S* s, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) d[i] = Cast<D, S>::run(s[i]);
}
inline void cast_block(float* d, const float16_t* s, int64_t n) {
  constexpr int N = F32::N;
  int64_t i = 0;
  for (; i + N <= n; i += N) load_f16(&s[i].bits).store(d + i);
  if (i < n) {
    uint16_t last[N] = {};
    std::memcpy(last, s + i, size_t(n - i) * 2);
    load_f16(last).store(d + i, size_t(n - i));
  }
}
inline void cast_block(float16_t* d, const float* s, int64_t n) {
  constexpr int N = F32::N;
  int64_t i = 0;
  for (; i + N <= n; i += N) store_f16(F32::load(s + i), &d[i].bits);
  if (i < n) {
    uint16_t last[N];
    store_f16(F32::load(s + i, size_t(n - i)), last);
    std::memcpy(d + i, last, size_t(n - i) * 2);
  }
}
// To float on the way to float16: an inexact result gets an odd last bit, so that the second rounding is the only one.
inline void cast_to_odd(float* d, const double* s, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    float y = float(s[i]);
    uint32_t bits;
    std::memcpy(&bits, &y, 4);
    if (double(y) != s[i] && s[i] == s[i] && !(bits & 1u)) bits += ::fabs(double(y)) < ::fabs(s[i]) ? 1u : ~0u;
    std::memcpy(d + i, &bits, 4);
  }
}

template <class T> constexpr bool kHalf = false;
template <> constexpr bool kHalf<float16_t> = true;
template <> constexpr bool kHalf<bfloat16_t> = true;
template <class A, class B> constexpr bool kSame = false;
template <class A> constexpr bool kSame<A, A> = true;

template <class D, class S> void convert(const walle_call* c) {
  D* d = static_cast<D*>(c->buf[0]) + c->begin;
  const S* s = static_cast<const S*>(c->buf[1]) + c->begin;
  const int64_t n = c->end - c->begin;
  if constexpr (kSame<D, S>) {
    std::memmove(d, s, size_t(n) * sizeof(D));
  } else if constexpr ((kHalf<D> && !kSame<S, float>) || (kHalf<S> && !kSame<D, float>)) {  // through float
    float block[256];
    for (int64_t i = 0; i < n; i += 256) {
      const int64_t part = n - i < 256 ? n - i : 256;
      if constexpr (kSame<S, double> && kSame<D, float16_t>) {
        cast_to_odd(block, s + i, part);
      } else if constexpr (kSame<S, float>) {
        std::memcpy(block, s + i, size_t(part) * 4);
      } else {
        cast_block(block, s + i, part);
      }
      cast_block(d + i, block, part);
    }
  } else {
    cast_block(d, s, n);
  }
}

// Integers to an integer of some width do not depend on the signs of either, except for widening.
template <class D, class S> constexpr walle_kernel_fn convert_row() {
  if constexpr (Kind<S>::real || Kind<D>::real || kHalf<D> || kHalf<S>) return convert<D, S>;
  else if constexpr (sizeof(D) <= sizeof(S)) return convert<typename Kind<D>::width, typename Kind<S>::width>;
  else return convert<typename Kind<D>::width, S>;
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_CONVERT_ROW(to, to_type, from, type) {"convert", #to, #from, convert_row<to_type, type>()},
#define WALLE_CONVERT_TO(to, type)                                                                         \
  WALLE_CONVERT_ROW(to, type, float32, float) WALLE_CONVERT_ROW(to, type, float64, double)                 \
  WALLE_CONVERT_ROW(to, type, float16, float16_t) WALLE_CONVERT_ROW(to, type, bfloat16, bfloat16_t)        \
  WALLE_CONVERT_ROW(to, type, int8, int8_t) WALLE_CONVERT_ROW(to, type, uint8, uint8_t)                    \
  WALLE_CONVERT_ROW(to, type, int16, int16_t) WALLE_CONVERT_ROW(to, type, uint16, uint16_t)                \
  WALLE_CONVERT_ROW(to, type, int32, int32_t) WALLE_CONVERT_ROW(to, type, uint32, uint32_t)                \
  WALLE_CONVERT_ROW(to, type, int64, int64_t) WALLE_CONVERT_ROW(to, type, uint64, uint64_t)                \
  WALLE_CONVERT_ROW(to, type, bool, bool_t)
#define WALLE_CONVERT_ROWS                                                                                 \
  WALLE_CONVERT_TO(float32, float) WALLE_CONVERT_TO(float64, double)                                       \
  WALLE_CONVERT_TO(float16, float16_t) WALLE_CONVERT_TO(bfloat16, bfloat16_t)                              \
  WALLE_CONVERT_TO(int8, int8_t) WALLE_CONVERT_TO(uint8, uint8_t)                                          \
  WALLE_CONVERT_TO(int16, int16_t) WALLE_CONVERT_TO(uint16, uint16_t)                                      \
  WALLE_CONVERT_TO(int32, int32_t) WALLE_CONVERT_TO(uint32, uint32_t)                                      \
  WALLE_CONVERT_TO(int64, int64_t) WALLE_CONVERT_TO(uint64, uint64_t)                                      \
  WALLE_CONVERT_TO(bool, bool_t)
#endif
