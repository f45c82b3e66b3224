// The vector interface of walle/simd/scalar.hpp with 4 lanes: AArch64 NEON; dot products, I8MM and BF16 where the object asks for them.
#ifndef WALLE_VEC_NEON_HPP
#define WALLE_VEC_NEON_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include <arm_neon.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define WALLE_LANES 4
#define WALLE_BY_LANE

namespace walle { namespace WALLE_ISA { namespace {

constexpr int kRegisters = 32;
constexpr int kMr = 5, kNv = 4, kIntMr = 5;  // 20 sums, a vector of each row and one of B's 4: 29 of 32 registers

struct M32 { uint32x4_t v; };

// The first n < 4 lanes, without touching the others.
inline float32x4_t load_part(const float* p, size_t n) {
  float32x4_t v = vdupq_n_f32(0.0f);
  if (n & 2) {
    v = vcombine_f32(vld1_f32(p), vdup_n_f32(0.0f));
    return n & 1 ? vld1q_lane_f32(p + 2, v, 2) : v;
  }
  return n & 1 ? vld1q_lane_f32(p, v, 0) : v;
}
inline void store_part(float* p, float32x4_t v, size_t n) {
  if (n & 2) {
    vst1_f32(p, vget_low_f32(v));
    if (n & 1) vst1q_lane_f32(p + 2, v, 2);
  } else if (n & 1) {
    vst1q_lane_f32(p, v, 0);
  }
}

struct F32 {
  static constexpr int N = 4;
  float32x4_t v;
  static F32 set(float x) { return {vdupq_n_f32(x)}; }
  static F32 load(const float* p) { return {vld1q_f32(p)}; }
  static F32 load(const float* p, size_t n) { return {n >= 4 ? vld1q_f32(p) : load_part(p, n)}; }
  void store(float* p) const { vst1q_f32(p, v); }
  void store(float* p, size_t n) const { n >= 4 ? vst1q_f32(p, v) : store_part(p, v, n); }
};

struct I32 {
  static constexpr int N = 4;
  int32x4_t v;
  static I32 set(int32_t x) { return {vdupq_n_s32(x)}; }
  static I32 load(const int32_t* p) { return {vld1q_s32(p)}; }
  static I32 load(const int32_t* p, size_t n) {
    return {vreinterpretq_s32_f32(F32::load(reinterpret_cast<const float*>(p), n).v)};
  }
  void store(int32_t* p) const { vst1q_s32(p, v); }
  void store(int32_t* p, size_t n) const { F32{vreinterpretq_f32_s32(v)}.store(reinterpret_cast<float*>(p), n); }
};

inline F32 add(F32 a, F32 b) { return {vaddq_f32(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {vsubq_f32(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {vmulq_f32(a.v, b.v)}; }
inline F32 div(F32 a, F32 b) { return {vdivq_f32(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline F32 fnma(F32 a, F32 b, F32 c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
inline F32 min(F32 a, F32 b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }  // NEON's own keeps the NaN
inline F32 max(F32 a, F32 b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
inline F32 sqrt(F32 a) { return {vsqrtq_f32(a.v)}; }
inline F32 abs(F32 a) { return {vabsq_f32(a.v)}; }
inline F32 neg(F32 a) { return {vnegq_f32(a.v)}; }
inline F32 floor(F32 a) { return {vrndmq_f32(a.v)}; }
inline F32 ceil(F32 a) { return {vrndpq_f32(a.v)}; }
inline F32 trunc(F32 a) { return {vrndq_f32(a.v)}; }
inline F32 round_even(F32 a) { return {vrndnq_f32(a.v)}; }
inline M32 lt(F32 a, F32 b) { return {vcltq_f32(a.v, b.v)}; }
inline M32 le(F32 a, F32 b) { return {vcleq_f32(a.v, b.v)}; }
inline M32 eq(F32 a, F32 b) { return {vceqq_f32(a.v, b.v)}; }
inline M32 isnan(F32 a) { return {vmvnq_u32(vceqq_f32(a.v, a.v))}; }
inline M32 logical_and(M32 a, M32 b) { return {vandq_u32(a.v, b.v)}; }
inline M32 logical_or(M32 a, M32 b) { return {vorrq_u32(a.v, b.v)}; }
inline M32 logical_not(M32 a) { return {vmvnq_u32(a.v)}; }
inline F32 select(M32 m, F32 a, F32 b) { return {vbslq_f32(m.v, a.v, b.v)}; }
inline I32 select(M32 m, I32 a, I32 b) { return {vbslq_s32(m.v, a.v, b.v)}; }
inline I32 add(I32 a, I32 b) { return {vaddq_s32(a.v, b.v)}; }
inline I32 sub(I32 a, I32 b) { return {vsubq_s32(a.v, b.v)}; }
inline I32 min(I32 a, I32 b) { return {vminq_s32(a.v, b.v)}; }
inline I32 max(I32 a, I32 b) { return {vmaxq_s32(a.v, b.v)}; }
inline I32 bit_and(I32 a, I32 b) { return {vandq_s32(a.v, b.v)}; }
inline I32 bit_or(I32 a, I32 b) { return {vorrq_s32(a.v, b.v)}; }
inline I32 bit_xor(I32 a, I32 b) { return {veorq_s32(a.v, b.v)}; }
template <int S> inline I32 shift_left(I32 a) { return {vshlq_n_s32(a.v, S)}; }
template <int S> inline I32 shift_right(I32 a) { return {vshrq_n_s32(a.v, S)}; }
inline F32 as_float(I32 a) { return {vreinterpretq_f32_s32(a.v)}; }
inline I32 as_int(F32 a) { return {vreinterpretq_s32_f32(a.v)}; }
inline F32 to_float(I32 a) { return {vcvtq_f32_s32(a.v)}; }
inline I32 to_int(F32 a) { return {vcvtnq_s32_f32(a.v)}; }
inline M32 first_lanes(size_t n) {
  const uint32x4_t lane = {0, 1, 2, 3};
  return {vcltq_u32(lane, vdupq_n_u32(uint32_t(n)))};
}
inline bool any(M32 m) { return vmaxvq_u32(m.v) != 0; }
inline F32 ldexp(F32 a, F32 n) {  // in two steps: 2^n itself need not be a normal number
  const int32x4_t bias = vdupq_n_s32(127), whole = vcvtnq_s32_f32(n.v);
  const int32x4_t half = vshrq_n_s32(whole, 1), rest = vsubq_s32(whole, half);
  const float32x4_t p = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
  const float32x4_t q = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
  return {vmulq_f32(vmulq_f32(a.v, p), q)};
}
inline F32 load_f16(const uint16_t* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))}; }
inline void store_f16(F32 a, uint16_t* p) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a.v))); }
inline float reduce_add(F32 a) { return vaddvq_f32(a.v); }
inline float reduce_max(F32 a) { return vmaxvq_f32(a.v); }
inline float reduce_min(F32 a) { return vminvq_f32(a.v); }
inline void prefetch(const void* p) { __builtin_prefetch(p); }
inline void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }
inline F32 pin(F32 a) { asm("" : "+w"(a.v)); return a; }
inline I32 pin(I32 a) { asm("" : "+w"(a.v)); return a; }
template <int L> inline F32 madd_lane(F32 a, F32 b, F32 c) { return {vfmaq_laneq_f32(c.v, b.v, a.v, L)}; }

// Loads that stay where they are written and move their pointer themselves: of plain ones GCC hoists so many that it runs out of
// registers and keeps sums on the stack.
#define WALLE_TAKE inline __attribute__((always_inline)) void take
template <class W, class X> WALLE_TAKE(const W*& p, X& x) {
  typedef unsigned char all[16];
  asm volatile("ldr %q0, [%1], #16" : "=w"(x.v), "+r"(p) : "m"(*reinterpret_cast<const all*>(p)));
}
template <class W, class X> WALLE_TAKE(const W*& p, X (&x)[2]) {  // half a panel
  typedef unsigned char all[32];
  asm volatile("ldp %q0, %q1, [%2], #64" : "=w"(x[0].v), "=w"(x[1].v), "+r"(p) : "m"(*reinterpret_cast<const all*>(p)));
}
template <class W, class X> WALLE_TAKE(const W*& p, X (&x)[4]) {  // LD1 wants neighbouring registers
  typedef unsigned char all[64];
  register decltype(x[0].v) b0 asm("v28");
  register decltype(x[0].v) b1 asm("v29");
  register decltype(x[0].v) b2 asm("v30");
  register decltype(x[0].v) b3 asm("v31");
  asm volatile("ld1 {v28.4s-v31.4s}, [%4], #64"
               : "=w"(b0), "=w"(b1), "=w"(b2), "=w"(b3), "+r"(p) : "m"(*reinterpret_cast<const all*>(p)));
  x[0].v = b0, x[1].v = b1, x[2].v = b2, x[3].v = b3;
}
#undef WALLE_TAKE
inline void transpose(F32* r) {
  const float32x4x2_t a = vtrnq_f32(r[0].v, r[1].v), b = vtrnq_f32(r[2].v, r[3].v);
  r[0].v = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  r[1].v = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  r[2].v = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  r[3].v = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

inline uint8x8_t load_4(const uint8_t* p) {
  uint32_t bytes;
  std::memcpy(&bytes, p, 4);
  return vreinterpret_u8_u32(vdup_n_u32(bytes));
}
inline int16x8_t words(I32 a) { return vreinterpretq_s16_s32(a.v); }
inline I32 lanes(int16x8_t a) { return {vreinterpretq_s32_s16(a)}; }
inline I32 load_u8(const uint8_t* p) {
  return {vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(load_4(p)))))};
}
inline I32 load_i8(const uint8_t* p) { return {vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(load_4(p)))))}; }
inline void store_low8(I32 a, uint8_t* p) {
  const int16x4_t low = vmovn_s32(a.v);
  const uint32_t bytes = vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(low, low))), 0);
  std::memcpy(p, &bytes, 4);
}
inline void store_low8(I32 a, I32 b, uint8_t* p) {
  vst1_u8(p, vreinterpret_u8_s8(vmovn_s16(vcombine_s16(vmovn_s32(a.v), vmovn_s32(b.v)))));
}
inline I32 load_pairs_u8(const uint8_t* p) { return lanes(vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p)))); }
inline I32 load_pairs_i8(const uint8_t* p) { return lanes(vmovl_s8(vreinterpret_s8_u8(vld1_u8(p)))); }
inline I32 sub_pairs(I32 a, I32 b) { return lanes(vsubq_s16(words(a), words(b))); }
inline I32 dot_pairs(I32 a, I32 b, I32 c) {
  const int16x8_t x = words(a), y = words(b);
  const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y)), high = vmull_high_s16(x, y);
  return {vaddq_s32(c.v, vpaddq_s32(low, high))};
}
template <bool kSigned> inline I32 max_bytes(I32 a, I32 b) {
  if (kSigned) return {vreinterpretq_s32_s8(vmaxq_s8(vreinterpretq_s8_s32(a.v), vreinterpretq_s8_s32(b.v)))};
  return {vreinterpretq_s32_u8(vmaxq_u8(vreinterpretq_u8_s32(a.v), vreinterpretq_u8_s32(b.v)))};
}
constexpr int kQuadLimit = 0;
constexpr bool kSignedQuads = true;  // as every level multiplies them
inline int8x16_t bytes(I32 a) { return vreinterpretq_s8_s32(a.v); }
#ifdef WALLE_NEON_DOT
inline I32 dot_quads(I32 a, I32 b, I32 c) { return {vdotq_s32(c.v, bytes(b), bytes(a))}; }
template <int L> inline I32 dot_quads_lane(I32 a, I32 b, I32 c) { return {vdotq_laneq_s32(c.v, bytes(b), bytes(a), L)}; }
#else
inline I32 dot_quads(I32 a, I32 b, I32 c) {
  const int8x16_t x = bytes(a), y = bytes(b);
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(y))), high = vpaddlq_s16(vmull_high_s8(x, y));
  return {vaddq_s32(c.v, vpaddq_s32(low, high))};
}
template <int L> inline I32 dot_quads_lane(I32 a, I32 b, I32 c) { return dot_quads({vdupq_laneq_s32(a.v, L)}, b, c); }
#endif
inline I32 dot_quads(I32 a, I32 b, I32 a2, I32 b2, I32 c) { return dot_quads(a2, b2, dot_quads(a, b, c)); }

struct Narrow {
  int16x8_t zero;
  int8x8_t low, high, flip;
  static Narrow make(int32_t zero, int32_t low, int32_t high, int32_t flip) {
    return {vdupq_n_s16(int16_t(zero)), vdup_n_s8(int8_t(low)), vdup_n_s8(int8_t(high)), vdup_n_s8(int8_t(flip))};
  }
};
inline void store_narrow(F32 a, F32 b, const Narrow& n, uint8_t* p) {
  const int16x8_t both = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a.v)), vqmovn_s32(vcvtnq_s32_f32(b.v)));
  const int8x8_t bytes = vqmovn_s16(vqaddq_s16(both, n.zero));
  vst1_u8(p, vreinterpret_u8_s8(veor_s8(vmin_s8(vmax_s8(bytes, n.low), n.high), n.flip)));
}
inline void store_narrow(F32 a, F32 b, F32 c, F32 d, const Narrow& n, uint8_t* p, uint8_t* q) {
  store_narrow(a, b, n, p);
  store_narrow(c, d, n, q);
}
inline void zip_pairs(I32 a, I32 b, I32* lo, I32* hi) {
  *lo = lanes(vzip1q_s16(words(a), words(b)));
  *hi = lanes(vzip2q_s16(words(a), words(b)));
}
inline void store_zipped_narrow(F32 lo, F32 hi, const Narrow& n, uint8_t* p) { store_narrow(lo, hi, n, p); }

#ifdef WALLE_NEON_FP16
struct F16 {
  static constexpr int N = 8;
  float16x8_t v;
  static F16 set(float x) { return {vdupq_n_f16(float16_t(x))}; }
};
inline F16 add(F16 a, F16 b) { return {vaddq_f16(a.v, b.v)}; }
inline F16 pin(F16 a) { asm("" : "+w"(a.v)); return a; }
inline F16 as_f16(I32 a) { return {vreinterpretq_f16_s32(a.v)}; }
inline I32 pack_f16(F32 a, F32 b) { return {vreinterpretq_s32_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.v), b.v))}; }
inline void widen(F16 a, F32* low, F32* high) { low->v = vcvt_f32_f16(vget_low_f16(a.v)), high->v = vcvt_high_f32_f16(a.v); }
// Of the intrinsic, GCC 12 makes a copy of the lane first. The multiplier by lane is one of v0 to v15.
template <int L> inline F16 madd_f16(I32 a, F16 b, F16 c) {
  asm("fmla %0.8h, %1.8h, %2.h[%3]" : "+w"(c.v) : "w"(b.v), "x"(a.v), "n"(L));
  return c;
}
#endif
#ifdef WALLE_NEON_BF16
inline I32 pack_bf16(F32 a, F32 b) {
  return {vreinterpretq_s32_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(a.v), b.v))};
}
inline F32 dot_bf16(I32 a, I32 b, F32 c) {
  return {vbfdotq_f32(c.v, vreinterpretq_bf16_s32(b.v), vreinterpretq_bf16_s32(a.v))};
}
template <int L> inline F32 dot_bf16_lane(I32 a, I32 b, F32 c) {
  return {vbfdotq_laneq_f32(c.v, vreinterpretq_bf16_s32(b.v), vreinterpretq_bf16_s32(a.v), L)};
}
#endif

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
