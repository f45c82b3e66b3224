// The vector interface of walle/simd/scalar.hpp with 16 lanes: AVX-512 F, DQ, BW and VL; VNNI and BF16 where the object asks for them.
#ifndef WALLE_VEC_AVX512_HPP
#define WALLE_VEC_AVX512_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include <immintrin.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define WALLE_LANES 16

namespace walle { namespace WALLE_ISA { namespace {

constexpr int kRegisters = 32;
constexpr int kMr = 12, kNv = 2, kIntMr = 10;  // of bytes: weights of two steps stay in registers too

struct M32 { __mmask16 v; };

inline __mmask16 tail_mask(size_t n) { return __mmask16((1u << n) - 1u); }

struct F32 {
  static constexpr int N = 16;
  __m512 v;
  static F32 set(float x) { return {_mm512_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static F32 load(const float* p, size_t n) { return {_mm512_maskz_loadu_ps(tail_mask(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(float* p, size_t n) const { _mm512_mask_storeu_ps(p, tail_mask(n), v); }
};

struct I32 {
  static constexpr int N = 16;
  __m512i v;
  static I32 set(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static I32 load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static I32 load(const int32_t* p, size_t n) { return {_mm512_maskz_loadu_epi32(tail_mask(n), p)}; }
  void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  void store(int32_t* p, size_t n) const { _mm512_mask_storeu_epi32(p, tail_mask(n), v); }
};

inline F32 add(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32 div(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F32 fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
inline F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
inline F32 abs(F32 a) { return {_mm512_abs_ps(a.v)}; }
inline F32 neg(F32 a) { return {_mm512_xor_ps(_mm512_set1_ps(-0.0f), a.v)}; }
inline F32 floor(F32 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
inline F32 ceil(F32 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }
inline F32 trunc(F32 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)}; }
inline F32 round_even(F32 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline M32 lt(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline M32 le(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline M32 eq(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline M32 isnan(F32 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline M32 logical_and(M32 a, M32 b) { return {__mmask16(a.v & b.v)}; }
inline M32 logical_or(M32 a, M32 b) { return {__mmask16(a.v | b.v)}; }
inline M32 logical_not(M32 a) { return {__mmask16(~a.v)}; }
inline F32 select(M32 m, F32 a, F32 b) { return {_mm512_mask_blend_ps(m.v, b.v, a.v)}; }
inline I32 select(M32 m, I32 a, I32 b) { return {_mm512_mask_blend_epi32(m.v, b.v, a.v)}; }
inline I32 add(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I32 sub(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline I32 min(I32 a, I32 b) { return {_mm512_min_epi32(a.v, b.v)}; }
inline I32 max(I32 a, I32 b) { return {_mm512_max_epi32(a.v, b.v)}; }
inline I32 bit_and(I32 a, I32 b) { return {_mm512_and_si512(a.v, b.v)}; }
inline I32 bit_or(I32 a, I32 b) { return {_mm512_or_si512(a.v, b.v)}; }
inline I32 bit_xor(I32 a, I32 b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int S> inline I32 shift_left(I32 a) { return {_mm512_slli_epi32(a.v, S)}; }
template <int S> inline I32 shift_right(I32 a) { return {_mm512_srai_epi32(a.v, S)}; }
inline F32 as_float(I32 a) { return {_mm512_castsi512_ps(a.v)}; }
inline I32 as_int(F32 a) { return {_mm512_castps_si512(a.v)}; }
inline F32 to_float(I32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline I32 to_int(F32 a) { return {_mm512_cvtps_epi32(a.v)}; }
inline M32 first_lanes(size_t n) { return {tail_mask(n)}; }
inline bool any(M32 m) { return m.v != 0; }
inline F32 ldexp(F32 a, F32 n) { return {_mm512_scalef_ps(a.v, n.v)}; }
inline F32 load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline void store_f16(F32 a, uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline __m128i load_16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline __m256i load_32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline I32 load_u8(const uint8_t* p) { return {_mm512_cvtepu8_epi32(load_16(p))}; }
inline I32 load_i8(const uint8_t* p) { return {_mm512_cvtepi8_epi32(load_16(p))}; }
inline void store_low8(I32 a, uint8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v));
}
inline void store_low8(I32 a, I32 b, uint8_t* p) {
  store_low8(a, p);
  store_low8(b, p + 16);
}
inline I32 load_pairs_u8(const uint8_t* p) { return {_mm512_cvtepu8_epi16(load_32(p))}; }
inline I32 load_pairs_i8(const uint8_t* p) { return {_mm512_cvtepi8_epi16(load_32(p))}; }
inline I32 sub_pairs(I32 a, I32 b) { return {_mm512_sub_epi16(a.v, b.v)}; }
#ifdef WALLE_AVX512_VNNI  // the object is for processors with these instructions
inline I32 dot_pairs(I32 a, I32 b, I32 c) { return {_mm512_dpwssd_epi32(c.v, a.v, b.v)}; }
#else
// The sum stays in its register: of a plain intrinsic, GCC copies the sums of a tile.
inline I32 dot_pairs(I32 a, I32 b, I32 c) {
  const __m512i products = _mm512_madd_epi16(a.v, b.v);
#ifdef __AVX512F__
  asm("vpaddd %1, %0, %0" : "+v"(c.v) : "v"(products));
  return c;
#else
  return {_mm512_add_epi32(c.v, products)};
#endif
}
#endif
constexpr bool kSignedQuads = false;
template <bool kSigned> inline I32 max_bytes(I32 a, I32 b) {
  return {kSigned ? _mm512_max_epi8(a.v, b.v) : _mm512_max_epu8(a.v, b.v)};
}
#ifdef WALLE_AVX512_VNNI
constexpr int kQuadLimit = 0;
inline I32 dot_quads(I32 a, I32 b, I32 c) { return {_mm512_dpbusd_epi32(c.v, a.v, b.v)}; }
inline I32 dot_quads(I32 a, I32 b, I32 a2, I32 b2, I32 c) { return dot_quads(a2, b2, dot_quads(a, b, c)); }
#else
// vpmaddubsw: sums of two products in 16 bits, saturated; of two quads, four products without saturation.
constexpr int kQuadLimit = 128;
inline I32 add_words(I32 c, __m512i words) {
  const __m512i sums = _mm512_madd_epi16(words, _mm512_set1_epi16(1));
#ifdef __AVX512F__
  asm("vpaddd %1, %0, %0" : "+v"(c.v) : "v"(sums));
  return c;
#else
  return {_mm512_add_epi32(c.v, sums)};
#endif
}
inline I32 dot_quads(I32 a, I32 b, I32 c) { return add_words(c, _mm512_maddubs_epi16(a.v, b.v)); }
inline I32 dot_quads(I32 a, I32 b, I32 a2, I32 b2, I32 c) {
  return add_words(c, _mm512_add_epi16(_mm512_maddubs_epi16(a.v, b.v), _mm512_maddubs_epi16(a2.v, b2.v)));
}
#endif
struct Narrow {
  __m512i zero;
  __m256i low, high, flip;
  static Narrow make(int32_t zero, int32_t low, int32_t high, int32_t flip) {
    return {_mm512_set1_epi16(int16_t(zero)), _mm256_set1_epi8(char(low)), _mm256_set1_epi8(char(high)), _mm256_set1_epi8(char(flip))};
  }
};
// Four of a, four of b, and so on.
inline __m256i narrow(F32 a, F32 b, const Narrow& n) {
  const __m512i words = _mm512_packs_epi32(_mm512_cvtps_epi32(a.v), _mm512_cvtps_epi32(b.v));
  const __m256i bytes = _mm512_cvtsepi16_epi8(_mm512_adds_epi16(words, n.zero));
  return _mm256_xor_si256(_mm256_min_epi8(_mm256_max_epi8(bytes, n.low), n.high), n.flip);
}
inline void store_narrow(F32 a, F32 b, const Narrow& n, uint8_t* p) {
  const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(narrow(a, b, n), order));
}
inline void store_narrow(F32 a, F32 b, F32 c, F32 d, const Narrow& n, uint8_t* p, uint8_t* q) {
  store_narrow(a, b, n, p);
  store_narrow(c, d, n, q);
}
inline void store_zipped_narrow(F32 lo, F32 hi, const Narrow& n, uint8_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(lo, hi, n));
}
#ifdef WALLE_AVX512_BF16
inline I32 pack_bf16(F32 a, F32 b) { return {__m512i(_mm512_cvtne2ps_pbh(b.v, a.v))}; }
inline F32 dot_bf16(I32 a, I32 b, F32 c) { return {_mm512_dpbf16_ps(c.v, __m512bh(a.v), __m512bh(b.v))}; }
#endif
inline void zip_pairs(I32 a, I32 b, I32* lo, I32* hi) {
  lo->v = _mm512_unpacklo_epi16(a.v, b.v);
  hi->v = _mm512_unpackhi_epi16(a.v, b.v);
}
inline float reduce_add(F32 a) { return _mm512_reduce_add_ps(a.v); }
inline float reduce_max(F32 a) { return _mm512_reduce_max_ps(a.v); }
inline float reduce_min(F32 a) { return _mm512_reduce_min_ps(a.v); }
inline __attribute__((always_inline)) void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
inline __attribute__((always_inline)) void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
#ifdef __AVX512F__
inline F32 pin(F32 a) { asm("" : "+v"(a.v)); return a; }
#else  // emulated: no register holds a vector
inline F32 pin(F32 a) { return a; }
#endif
inline void transpose(F32* r) {  // pairs, quarters, then 128-bit blocks twice
  __m512 t[16], u[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  for (int i = 0; i < 16; i += 4) {  // u[i + c]: column c of each 4 x 4 block of rows i .. i+3
    u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int c = 0; c < 4; ++c) {
    const __m512 a = _mm512_shuffle_f32x4(u[c], u[c + 4], 0x88), b = _mm512_shuffle_f32x4(u[c], u[c + 4], 0xdd);
    const __m512 e = _mm512_shuffle_f32x4(u[c + 8], u[c + 12], 0x88), f = _mm512_shuffle_f32x4(u[c + 8], u[c + 12], 0xdd);
    r[c].v = _mm512_shuffle_f32x4(a, e, 0x88);       // columns c, c+8 of a and e
    r[c + 4].v = _mm512_shuffle_f32x4(b, f, 0x88);
    r[c + 8].v = _mm512_shuffle_f32x4(a, e, 0xdd);
    r[c + 12].v = _mm512_shuffle_f32x4(b, f, 0xdd);
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
