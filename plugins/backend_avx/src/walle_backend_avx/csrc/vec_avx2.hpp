// The vector interface of walle/simd/scalar.hpp with 8 lanes: AVX2 and FMA; AVX-VNNI where the object asks for it.
#ifndef WALLE_VEC_AVX2_HPP
#define WALLE_VEC_AVX2_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include <immintrin.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define WALLE_LANES 8

namespace walle { namespace WALLE_ISA { namespace {

constexpr int kRegisters = 16;
constexpr int kMr = 6, kNv = 2, kIntMr = 4;  // of bytes: weights of two steps stay in registers too

struct M32 { __m256 v; };

inline __m256i tail_mask(size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), lane);
}

// The first n lanes, in halves: a masked store takes 40 operations on some processors.
inline void store_part(float* p, __m256 v, size_t n) {
  if (n >= 8) return _mm256_storeu_ps(p, v);
  __m128 low = _mm256_castps256_ps128(v);
  if (n & 4) _mm_storeu_ps(p, low), p += 4, low = _mm256_extractf128_ps(v, 1);
  if (n & 2) _mm_storel_pi(reinterpret_cast<__m64*>(p), low), p += 2, low = _mm_movehl_ps(low, low);
  if (n & 1) _mm_store_ss(p, low);
}

struct F32 {
  static constexpr int N = 8;
  __m256 v;
  static F32 set(float x) { return {_mm256_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static F32 load(const float* p, size_t n) { return {_mm256_maskload_ps(p, tail_mask(n))}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(float* p, size_t n) const { store_part(p, v, n); }
};

struct I32 {
  static constexpr int N = 8;
  __m256i v;
  static I32 set(int32_t x) { return {_mm256_set1_epi32(x)}; }
  static I32 load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static I32 load(const int32_t* p, size_t n) { return {_mm256_maskload_epi32(p, tail_mask(n))}; }
  void store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  void store(int32_t* p, size_t n) const { store_part(reinterpret_cast<float*>(p), _mm256_castsi256_ps(v), n); }
};

inline F32 add(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F32 div(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline F32 fnma(F32 a, F32 b, F32 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
inline F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
inline F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.v)}; }
inline F32 abs(F32 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline F32 neg(F32 a) { return {_mm256_xor_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline F32 floor(F32 a) { return {_mm256_floor_ps(a.v)}; }
inline F32 ceil(F32 a) { return {_mm256_ceil_ps(a.v)}; }
inline F32 trunc(F32 a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)}; }
inline F32 round_even(F32 a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline M32 lt(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline M32 le(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline M32 eq(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline M32 isnan(F32 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
inline M32 logical_and(M32 a, M32 b) { return {_mm256_and_ps(a.v, b.v)}; }
inline M32 logical_or(M32 a, M32 b) { return {_mm256_or_ps(a.v, b.v)}; }
inline M32 logical_not(M32 a) { return {_mm256_xor_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))}; }
inline F32 select(M32 m, F32 a, F32 b) { return {_mm256_blendv_ps(b.v, a.v, m.v)}; }
inline I32 select(M32 m, I32 a, I32 b) {
  return {_mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(b.v), _mm256_castsi256_ps(a.v), m.v))};
}
inline I32 add(I32 a, I32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline I32 sub(I32 a, I32 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline I32 min(I32 a, I32 b) { return {_mm256_min_epi32(a.v, b.v)}; }
inline I32 max(I32 a, I32 b) { return {_mm256_max_epi32(a.v, b.v)}; }
inline I32 bit_and(I32 a, I32 b) { return {_mm256_and_si256(a.v, b.v)}; }
inline I32 bit_or(I32 a, I32 b) { return {_mm256_or_si256(a.v, b.v)}; }
inline I32 bit_xor(I32 a, I32 b) { return {_mm256_xor_si256(a.v, b.v)}; }
template <int S> inline I32 shift_left(I32 a) { return {_mm256_slli_epi32(a.v, S)}; }
template <int S> inline I32 shift_right(I32 a) { return {_mm256_srai_epi32(a.v, S)}; }
inline F32 as_float(I32 a) { return {_mm256_castsi256_ps(a.v)}; }
inline I32 as_int(F32 a) { return {_mm256_castps_si256(a.v)}; }
inline F32 to_float(I32 a) { return {_mm256_cvtepi32_ps(a.v)}; }
inline I32 to_int(F32 a) { return {_mm256_cvtps_epi32(a.v)}; }
inline M32 first_lanes(size_t n) { return {_mm256_castsi256_ps(tail_mask(n))}; }
inline bool any(M32 m) { return _mm256_movemask_ps(m.v) != 0; }
inline F32 ldexp(F32 a, F32 n) {  // in two steps: 2^n itself need not be a normal number
  const __m256i bias = _mm256_set1_epi32(127), whole = _mm256_cvtps_epi32(n.v);
  const __m256i half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
  const __m256 p = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const __m256 q = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, p), q)};
}
inline F32 load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline void store_f16(F32 a, uint16_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline __m128i load_16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline __m128i load_8(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
inline I32 load_u8(const uint8_t* p) { return {_mm256_cvtepu8_epi32(load_8(p))}; }
inline I32 load_i8(const uint8_t* p) { return {_mm256_cvtepi8_epi32(load_8(p))}; }
inline void store_low8(I32 a, uint8_t* p) {
  const __m256i low = _mm256_set1_epi32(0x0c080400);
  const __m256i words = _mm256_shuffle_epi8(a.v, low);
  const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), both);
}
inline void store_low8(I32 a, I32 b, uint8_t* p) {
  const __m256i mask = _mm256_set1_epi32(0xff);
  const __m256i words = _mm256_packus_epi32(_mm256_and_si256(a.v, mask), _mm256_and_si256(b.v, mask));
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_shuffle_epi32(bytes, 0xd8));  // a, b, a, b: in fours
}
inline I32 load_pairs_u8(const uint8_t* p) { return {_mm256_cvtepu8_epi16(load_16(p))}; }
inline I32 load_pairs_i8(const uint8_t* p) { return {_mm256_cvtepi8_epi16(load_16(p))}; }
inline I32 sub_pairs(I32 a, I32 b) { return {_mm256_sub_epi16(a.v, b.v)}; }
#ifdef WALLE_AVX_VNNI  // the object is for processors with these instructions
inline I32 dot_pairs(I32 a, I32 b, I32 c) { return {_mm256_dpwssd_avx_epi32(c.v, a.v, b.v)}; }
#else
// The sum stays in its register: of a plain intrinsic, GCC keeps a second copy of every sum of a tile on the stack.
inline I32 dot_pairs(I32 a, I32 b, I32 c) {
  const __m256i products = _mm256_madd_epi16(a.v, b.v);
  asm("vpaddd %1, %0, %0" : "+x"(c.v) : "x"(products));
  return c;
}
#endif
constexpr bool kSignedQuads = false;
template <bool kSigned> inline I32 max_bytes(I32 a, I32 b) {
  return {kSigned ? _mm256_max_epi8(a.v, b.v) : _mm256_max_epu8(a.v, b.v)};
}
#ifdef WALLE_AVX_VNNI
constexpr int kQuadLimit = 0;
inline I32 dot_quads(I32 a, I32 b, I32 c) { return {_mm256_dpbusd_avx_epi32(c.v, a.v, b.v)}; }
inline I32 dot_quads(I32 a, I32 b, I32 a2, I32 b2, I32 c) { return dot_quads(a2, b2, dot_quads(a, b, c)); }
#else
// vpmaddubsw: sums of two products in 16 bits, saturated; of two quads, four products without saturation.
constexpr int kQuadLimit = 128;
inline I32 add_words(I32 c, __m256i words) {
  const __m256i sums = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
  asm("vpaddd %1, %0, %0" : "+x"(c.v) : "x"(sums));
  return c;
}
inline I32 dot_quads(I32 a, I32 b, I32 c) { return add_words(c, _mm256_maddubs_epi16(a.v, b.v)); }
inline I32 dot_quads(I32 a, I32 b, I32 a2, I32 b2, I32 c) {
  return add_words(c, _mm256_add_epi16(_mm256_maddubs_epi16(a.v, b.v), _mm256_maddubs_epi16(a2.v, b2.v)));
}
#endif
struct Narrow {
  __m256i zero, low, high, flip;
  static Narrow make(int32_t zero, int32_t low, int32_t high, int32_t flip) {
    return {_mm256_set1_epi16(int16_t(zero)), _mm256_set1_epi8(char(low)), _mm256_set1_epi8(char(high)), _mm256_set1_epi8(char(flip))};
  }
  // In each half: four of a, four of b.
  __m256i words(F32 a, F32 b) const {
    return _mm256_adds_epi16(_mm256_packs_epi32(_mm256_cvtps_epi32(a.v), _mm256_cvtps_epi32(b.v)), zero);
  }
};
// Four of a, four of b, four of a, four of b.
inline __m128i narrow(F32 a, F32 b, const Narrow& n) {
  const __m256i words = n.words(a, b);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  const __m128i low = _mm256_castsi256_si128(n.low), high = _mm256_castsi256_si128(n.high);
  return _mm_xor_si128(_mm_min_epi8(_mm_max_epi8(bytes, low), high), _mm256_castsi256_si128(n.flip));
}
inline void store_narrow(F32 a, F32 b, const Narrow& n, uint8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_shuffle_epi32(narrow(a, b, n), 0xd8));
}
inline void store_narrow(F32 a, F32 b, F32 c, F32 d, const Narrow& n, uint8_t* p, uint8_t* q) {
  const __m256i mixed = _mm256_packs_epi16(n.words(a, b), n.words(c, d));  // a, b, c, d, a, b, c, d: in fours
  const __m256i bytes = _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  const __m256i kept = _mm256_xor_si256(_mm256_min_epi8(_mm256_max_epi8(bytes, n.low), n.high), n.flip);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(kept));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm256_extracti128_si256(kept, 1));
}
inline void store_zipped_narrow(F32 lo, F32 hi, const Narrow& n, uint8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(lo, hi, n));
}
inline void zip_pairs(I32 a, I32 b, I32* lo, I32* hi) {
  lo->v = _mm256_unpacklo_epi16(a.v, b.v);
  hi->v = _mm256_unpackhi_epi16(a.v, b.v);
}
inline float reduce_add(F32 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float reduce_max(F32 a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
inline float reduce_min(F32 a) {
  __m128 s = _mm_min_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_min_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_min_ss(s, _mm_movehdup_ps(s)));
}
inline __attribute__((always_inline)) void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
inline __attribute__((always_inline)) void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
inline F32 pin(F32 a) { asm("" : "+x"(a.v)); return a; }
inline void transpose(F32* r) {
  __m256 t[8], u[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
