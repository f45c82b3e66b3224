// The vector interface, documented, one lane wide. Every ISA's vec header offers the same names.
//
// F32 is a value of N floats, I32 of N int32, M32 a lane mask. `load(p, n)`/`store(p, n)` touch only the first n
// lanes (n <= N; missing lanes read as 0) and never fault on the rest. Headers that an ISA object includes may use
// <cstddef>, <cstdint>, <cmath> (scalar calls only) and intrinsics: standard templates would be shared between ISAs.
#ifndef WALLE_SIMD_SCALAR_HPP
#define WALLE_SIMD_SCALAR_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define WALLE_LANES 1

namespace walle { namespace WALLE_ISA { namespace {

// The register tile of a product (gemm_tile.hpp): most rows, vectors per row, most rows of products of bytes. What the ISA's
// registers hold; an ISA that multiplies by a lane also defines WALLE_BY_LANE and offers what by_lane.hpp lists.
constexpr int kMr = 4, kNv = 8, kIntMr = 4;
constexpr int kRegisters = 16;  // for vectors

struct M32 { bool v; };
struct I32;

struct F32 {
  static constexpr int N = 1;
  float v;
  static F32 set(float x) { return {x}; }
  static F32 load(const float* p) { return {*p}; }
  static F32 load(const float* p, size_t n) { return {n ? *p : 0.0f}; }
  void store(float* p) const { *p = v; }
  void store(float* p, size_t n) const { if (n) *p = v; }
};

struct I32 {
  static constexpr int N = 1;
  int32_t v;
  static I32 set(int32_t x) { return {x}; }
  static I32 load(const int32_t* p) { return {*p}; }
  static I32 load(const int32_t* p, size_t n) { return {n ? *p : 0}; }
  void store(int32_t* p) const { *p = v; }
  void store(int32_t* p, size_t n) const { if (n) *p = v; }
};

inline F32 add(F32 a, F32 b) { return {a.v + b.v}; }
inline F32 sub(F32 a, F32 b) { return {a.v - b.v}; }
inline F32 mul(F32 a, F32 b) { return {a.v * b.v}; }
inline F32 div(F32 a, F32 b) { return {a.v / b.v}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {std::fma(a.v, b.v, c.v)}; }   // a*b + c, one rounding
inline F32 fnma(F32 a, F32 b, F32 c) { return {std::fma(-a.v, b.v, c.v)}; } // c - a*b
inline F32 min(F32 a, F32 b) { return {a.v < b.v ? a.v : b.v}; }            // b where either is NaN
inline F32 max(F32 a, F32 b) { return {a.v > b.v ? a.v : b.v}; }            // b where either is NaN
inline F32 sqrt(F32 a) { return {std::sqrt(a.v)}; }
inline F32 abs(F32 a) { return {std::fabs(a.v)}; }
inline F32 neg(F32 a) { return {-a.v}; }
inline F32 floor(F32 a) { return {std::floor(a.v)}; }
inline F32 ceil(F32 a) { return {std::ceil(a.v)}; }
inline F32 trunc(F32 a) { return {std::trunc(a.v)}; }
inline F32 round_even(F32 a) { return {std::nearbyint(a.v)}; }
inline M32 lt(F32 a, F32 b) { return {a.v < b.v}; }
inline M32 le(F32 a, F32 b) { return {a.v <= b.v}; }
inline M32 eq(F32 a, F32 b) { return {a.v == b.v}; }
inline M32 isnan(F32 a) { return {a.v != a.v}; }
inline M32 logical_and(M32 a, M32 b) { return {a.v && b.v}; }
inline M32 logical_or(M32 a, M32 b) { return {a.v || b.v}; }
inline M32 logical_not(M32 a) { return {!a.v}; }
inline F32 select(M32 m, F32 a, F32 b) { return m.v ? a : b; }              // m ? a : b per lane
inline I32 select(M32 m, I32 a, I32 b) { return m.v ? a : b; }
inline I32 add(I32 a, I32 b) { return {int32_t(uint32_t(a.v) + uint32_t(b.v))}; }
inline I32 sub(I32 a, I32 b) { return {int32_t(uint32_t(a.v) - uint32_t(b.v))}; }
inline I32 min(I32 a, I32 b) { return {a.v < b.v ? a.v : b.v}; }
inline I32 max(I32 a, I32 b) { return {a.v > b.v ? a.v : b.v}; }
inline I32 bit_and(I32 a, I32 b) { return {a.v & b.v}; }
inline I32 bit_or(I32 a, I32 b) { return {a.v | b.v}; }
inline I32 bit_xor(I32 a, I32 b) { return {a.v ^ b.v}; }
template <int S> inline I32 shift_left(I32 a) { return {int32_t(uint32_t(a.v) << S)}; }
template <int S> inline I32 shift_right(I32 a) { return {a.v >> S}; }       // arithmetic
inline F32 as_float(I32 a) { F32 r; std::memcpy(&r.v, &a.v, 4); return r; }
inline I32 as_int(F32 a) { I32 r; std::memcpy(&r.v, &a.v, 4); return r; }
inline F32 to_float(I32 a) { return {float(a.v)}; }
inline I32 to_int(F32 a) { return {int32_t(std::nearbyint(a.v))}; }         // round to even; |a| < 2^31
inline M32 first_lanes(size_t n) { return {n > 0}; }                        // true in the lanes below n
inline bool any(M32 m) { return m.v; }
inline F32 ldexp(F32 a, F32 n) { return {::ldexpf(a.v, int(n.v))}; }        // a * 2^n, one rounding; n whole, |n| <= 250
inline F32 load_f16(const uint16_t* p);                                     // N IEEE half floats
inline void store_f16(F32 a, uint16_t* p);                                  // rounds to nearest even
inline float reduce_add(F32 a) { return a.v; }
inline float reduce_max(F32 a) { return a.v; }
inline float reduce_min(F32 a) { return a.v; }
inline void prefetch(const void*) {}      // to the first-level cache
inline void prefetch_far(const void*) {}  // to the second-level cache
inline void transpose(F32*) {}                                              // an N x N matrix, one vector per row
inline F32 pin(F32 a) { return a; }  // in a register from here on: not loaded again for each use

// 8-bit integers: N of them as int32, or 2N as int16 in the halves of N int32 lanes ("pairs").
inline I32 load_u8(const uint8_t* p) { return {*p}; }                       // N bytes, zero extended
inline I32 load_i8(const uint8_t* p) { return {int8_t(*p)}; }               // N bytes, sign extended
inline void store_low8(I32 a, uint8_t* p) { *p = uint8_t(a.v); }            // the low byte of each lane
inline void store_low8(I32 a, I32 b, uint8_t* p) { p[0] = uint8_t(a.v), p[1] = uint8_t(b.v); }  // of a, then of b
inline I32 make_pairs(int32_t first, int32_t second) { return {int32_t((uint32_t(second) << 16) | (uint32_t(first) & 0xffffu))}; }
inline I32 load_pairs_u8(const uint8_t* p) { return make_pairs(p[0], p[1]); }                  // 2N bytes
inline I32 load_pairs_i8(const uint8_t* p) { return make_pairs(int8_t(p[0]), int8_t(p[1])); }  // 2N bytes
inline I32 sub_pairs(I32 a, I32 b) { return make_pairs(int16_t(a.v) - int16_t(b.v), (a.v >> 16) - (b.v >> 16)); }
// c + a.first * b.first + a.second * b.second per lane; exact unless all four are -2^15
inline I32 dot_pairs(I32 a, I32 b, I32 c) {
  return {int32_t(uint32_t(c.v) + uint32_t(int32_t(int16_t(a.v)) * int16_t(b.v)) + uint32_t((a.v >> 16) * (b.v >> 16)))};
}
template <bool kSigned> inline I32 max_bytes(I32 a, I32 b) {                 // of each of the four bytes of a lane
  uint32_t made = 0;
  for (int i = 0; i < 32; i += 8) {
    const int32_t x = kSigned ? int8_t(a.v >> i) : uint8_t(a.v >> i), y = kSigned ? int8_t(b.v >> i) : uint8_t(b.v >> i);
    made |= (uint32_t(x > y ? x : y) & 0xffu) << i;
  }
  return {int32_t(made)};
}
// Four bytes per int32 lane ("quads"), b signed and a unsigned (kSignedQuads: signed): c + the sum of their products. Where kQuadLimit is not 0, two
// neighbouring products (four, of two quads at once) are first summed in 16 bits: exact if the positive and the negative
// factors of b in such a sum do not exceed kQuadLimit each.
constexpr int kQuadLimit = 0;
constexpr bool kSignedQuads = false;
inline I32 dot_quads(I32 a, I32 b, I32 c) {
  uint32_t sum = uint32_t(c.v);
  for (int i = 0; i < 32; i += 8) sum += uint32_t((a.v >> i & 0xff) * int32_t(int8_t(b.v >> i)));
  return {int32_t(sum)};
}
inline I32 dot_quads(I32 a, I32 b, I32 a2, I32 b2, I32 c) { return dot_quads(a2, b2, dot_quads(a, b, c)); }
// How floats within the range of int32 become bytes: rounded half to even, plus `zero`, clamped to low..high, all in
// -128..127, then `flip` by xor.
struct Narrow {
  int32_t zero, low, high, flip;
  static Narrow make(int32_t zero, int32_t low, int32_t high, int32_t flip) { return {zero, low, high, flip}; }
};
inline uint8_t narrow_one(F32 a, const Narrow& n) {
  const float x = a.v < -32768.0f ? -32768.0f : a.v > 32767.0f ? 32767.0f : a.v;
  const int32_t y = int32_t(std::nearbyint(x)) + n.zero;
  return uint8_t((y < n.low ? n.low : y > n.high ? n.high : y) ^ n.flip);
}
inline void store_narrow(F32 a, F32 b, const Narrow& n, uint8_t* p) { p[0] = narrow_one(a, n), p[1] = narrow_one(b, n); }
inline void store_narrow(F32 a, F32 b, F32 c, F32 d, const Narrow& n, uint8_t* p, uint8_t* q) {  // a, b to p; c, d to q
  store_narrow(a, b, n, p);
  store_narrow(c, d, n, q);
}

// The 2N int16 of a and of b, joined element by element into the 2N lanes of (lo, hi), in an order of the ISA's choice ...
inline void zip_pairs(I32 a, I32 b, I32* lo, I32* hi) {
  *lo = make_pairs(a.v, b.v);
  *hi = make_pairs(a.v >> 16, b.v >> 16);
}
// ... which these undo: bytes of 2N lanes in the order of the elements.
inline void store_zipped_narrow(F32 lo, F32 hi, const Narrow& n, uint8_t* p) { store_narrow(lo, hi, n, p); }

// The 2N bfloat16 of a, then of b, rounded to nearest even (subnormal ones may become zero) ...
inline I32 pack_bf16(F32 a, F32 b) {
  const auto bits = [](F32 x) {
    const uint32_t whole = uint32_t(as_int(x).v);
    return x.v != x.v ? whole >> 16 | 0x40u : (whole + 0x7fffu + (whole >> 16 & 1u)) >> 16;
  };
  return {int32_t(bits(b) << 16 | bits(a))};
}
// ... and c + the sum of two products of bfloat16, in float32.
inline F32 dot_bf16(I32 a, I32 b, F32 c) {
  const auto number = [](uint32_t bits) { return as_float({int32_t(bits & 0xffff0000u)}).v; };
  const float first = number(uint32_t(a.v) << 16) * number(uint32_t(b.v) << 16);
  return {c.v + first + number(uint32_t(a.v)) * number(uint32_t(b.v))};
}

inline F32 load_f16(const uint16_t* p) {
  const uint32_t sign = uint32_t(*p & 0x8000u) << 16, rest = *p & 0x7fffu;
  if (rest >= 0x7c00u) return as_float({int32_t(sign | 0x7f800000u | (rest & 0x3ffu) << 13 | (rest > 0x7c00u) << 22)});
  const float magnitude = as_float({int32_t(rest << 13)}).v * 0x1p112f;  // rebias by a product: subnormals come right
  return as_float({int32_t(sign | uint32_t(as_int({magnitude}).v))});
}
inline void store_f16(F32 a, uint16_t* p) {
  const uint32_t bits = uint32_t(as_int(a).v), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) {
    *p = uint16_t(sign | 0x7e00u | (rest >> 13 & 0x3ffu));
  } else if (rest >= 0x477ff000u) {  // 65520 and above round to infinity
    *p = uint16_t(sign | 0x7c00u);
  } else if (rest < 0x38800000u) {   // below 2^-14: the sum with 1/2 rounds to a multiple of 2^-24
    const float sum = as_float({int32_t(rest)}).v + 0.5f;
    *p = uint16_t(sign | (uint32_t(as_int({sum}).v) - 0x3f000000u));
  } else {
    *p = uint16_t(sign | (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1u)) >> 13);
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
