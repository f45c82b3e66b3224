// Intrinsics that SIMDe 0.7.4 lacks, misnames or gets wrong, from the operation sections of Intel's manual, one lane at a time.
// test_intrinsics.py compares each of them with NumPy.
#ifndef WALLE_EMULATED_MISSING_H
#define WALLE_EMULATED_MISSING_H
#include <cmath>
#include <cstdint>
#include <cstring>

namespace walle_emulated { namespace {

template <class T, int N> struct Lanes {
  T v[N];
  template <class V> static Lanes of(V x) {
    static_assert(sizeof(V) == sizeof(T) * N, "");
    Lanes r;
    std::memcpy(r.v, &x, sizeof r.v);
    return r;
  }
  template <class V> V as() const {
    static_assert(sizeof(V) == sizeof(T) * N, "");
    V r;
    std::memcpy(&r, v, sizeof v);
    return r;
  }
};
typedef Lanes<float, 16> Floats;
typedef Lanes<int32_t, 16> Ints;

template <class T, int N, class S> inline Lanes<T, N> each(const Lanes<S, N>& x) {
  Lanes<T, N> r;
  for (int i = 0; i < N; ++i) r.v[i] = T(x.v[i]);
  return r;
}

// Conversions between integers: extension, or the low part.
inline simde__m512i cvtepu8_epi32(simde__m128i x) { return each<int32_t>(Lanes<uint8_t, 16>::of(x)).as<simde__m512i>(); }
inline simde__m512i cvtepi8_epi32(simde__m128i x) { return each<int32_t>(Lanes<int8_t, 16>::of(x)).as<simde__m512i>(); }
inline simde__m512i cvtepu8_epi16(simde__m256i x) { return each<int16_t>(Lanes<uint8_t, 32>::of(x)).as<simde__m512i>(); }
inline simde__m128i cvtepi32_epi8(simde__m512i x) { return each<int8_t>(Ints::of(x)).as<simde__m128i>(); }

// Between integers and floats: the mode of rounding is to nearest even; what does not fit becomes the integer indefinite.
inline int32_t rounded(float x) { return x >= -0x1p31f && x < 0x1p31f ? int32_t(std::nearbyint(x)) : INT32_MIN; }
inline simde__m512 cvtepi32_ps(simde__m512i x) { return each<float>(Ints::of(x)).as<simde__m512>(); }
inline simde__m512i cvtps_epi32(simde__m512 x) {
  const Floats from = Floats::of(x);
  Ints r;
  for (int i = 0; i < 16; ++i) r.v[i] = rounded(from.v[i]);
  return r.as<simde__m512i>();
}

// Half floats, by the instructions of this processor.
inline simde__m512 cvtph_ps(simde__m256i x) {
  const Lanes<__m128i, 2> from = Lanes<__m128i, 2>::of(x);
  Lanes<__m256, 2> r;
  for (int i = 0; i < 2; ++i) r.v[i] = _mm256_cvtph_ps(from.v[i]);
  return r.as<simde__m512>();
}
inline simde__m256i cvtps_ph(simde__m512 x) {
  const Lanes<__m256, 2> from = Lanes<__m256, 2>::of(x);
  Lanes<__m128i, 2> r;
  for (int i = 0; i < 2; ++i) r.v[i] = _mm256_cvtps_ph(from.v[i], 0);
  return r.as<simde__m256i>();
}

// SIMDe's lose the sign's clearing of -0 and NaN, and subnormal numbers and rounding.
inline simde__m512 abs_ps(simde__m512 x) {
  Floats r = Floats::of(x);
  for (int i = 0; i < 16; ++i) r.v[i] = std::fabs(r.v[i]);
  return r.as<simde__m512>();
}
inline float scaled(float a, float b) {  // a * 2^floor(b), one rounding
  if (a != a || b != b) return a + b;
  if (a == 0 && b == __builtin_inff()) return __builtin_nanf("");
  if (a - a != 0 && b == -__builtin_inff()) return __builtin_nanf("");
  return std::ldexp(a, int(std::fmax(-1000.0f, std::fmin(1000.0f, std::floor(b)))));
}
inline simde__m512 scalef_ps(simde__m512 x, simde__m512 y) {
  Floats r = Floats::of(x);
  const Floats n = Floats::of(y);
  for (int i = 0; i < 16; ++i) r.v[i] = scaled(r.v[i], n.v[i]);
  return r.as<simde__m512>();
}

// To whole numbers, by the instruction of this processor.
template <int kMode> inline simde__m512 roundscale_ps(simde__m512 x) {
  Lanes<__m256, 2> r = Lanes<__m256, 2>::of(x);
  for (int i = 0; i < 2; ++i) r.v[i] = _mm256_round_ps(r.v[i], kMode);
  return r.as<simde__m512>();
}

// Lanes whose mask bit is clear are neither read nor written.
template <class T> inline Lanes<T, 16> masked_load(uint16_t mask, const void* p) {
  Lanes<T, 16> r;
  for (int i = 0; i < 16; ++i) {
    r.v[i] = 0;
    if (mask >> i & 1) std::memcpy(&r.v[i], static_cast<const T*>(p) + i, sizeof(T));
  }
  return r;
}
template <class T> inline void masked_store(void* p, uint16_t mask, const Lanes<T, 16>& x) {
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1) std::memcpy(static_cast<T*>(p) + i, &x.v[i], sizeof(T));
}
inline simde__m512 maskz_loadu_ps(uint16_t mask, const void* p) { return masked_load<float>(mask, p).as<simde__m512>(); }
inline simde__m512i maskz_loadu_epi32(uint16_t mask, const void* p) { return masked_load<int32_t>(mask, p).as<simde__m512i>(); }
inline void mask_storeu_ps(void* p, uint16_t mask, simde__m512 x) { masked_store(p, mask, Floats::of(x)); }
inline void mask_storeu_epi32(void* p, uint16_t mask, simde__m512i x) { masked_store(p, mask, Ints::of(x)); }

inline simde__m512i srai_epi32(simde__m512i x, unsigned count) {
  Ints r = Ints::of(x);
  for (int i = 0; i < 16; ++i) r.v[i] >>= count > 31 ? 31 : count;
  return r.as<simde__m512i>();
}

// Halves against each other, as the compilers write the sequence.
template <class Both> inline float reduced(simde__m512 x, Both both) {
  Floats r = Floats::of(x);
  for (int n = 8; n; n /= 2)
    for (int i = 0; i < n; ++i) r.v[i] = both(r.v[i + n], r.v[i]);
  return r.v[0];
}
inline float reduce_add_ps(simde__m512 x) { return reduced(x, [](float a, float b) { return a + b; }); }
inline float reduce_max_ps(simde__m512 x) { return reduced(x, [](float a, float b) { return a > b ? a : b; }); }
inline float reduce_min_ps(simde__m512 x) { return reduced(x, [](float a, float b) { return a < b ? a : b; }); }

// VCVTNE2PS2BF16: to nearest even, denormals to zero, NaN quiet; the second operand gives the low half.
inline uint16_t bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return uint16_t(bits >> 16 | 0x40u);
  if ((bits & 0x7f800000u) == 0) return uint16_t(bits >> 16 & 0x8000u);
  return uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
inline simde__m512bh cvtne2ps_pbh(simde__m512 high, simde__m512 low) {
  const Floats a = Floats::of(low), b = Floats::of(high);
  Lanes<uint16_t, 32> r;
  for (int i = 0; i < 16; ++i) r.v[i] = bf16(a.v[i]), r.v[16 + i] = bf16(b.v[i]);
  return r.as<simde__m512bh>();
}

// The VEX forms of 256 bits, for processors with these instructions and without AVX-512.
inline simde__m256i dpbusd_avx_epi32(simde__m256i c, simde__m256i a, simde__m256i b) {
  Lanes<uint32_t, 8> r = Lanes<uint32_t, 8>::of(c);
  const Lanes<uint8_t, 32> x = Lanes<uint8_t, 32>::of(a);
  const Lanes<int8_t, 32> y = Lanes<int8_t, 32>::of(b);
  for (int i = 0; i < 32; ++i) r.v[i / 4] += uint32_t(int32_t(x.v[i]) * y.v[i]);
  return r.as<simde__m256i>();
}
inline simde__m256i dpwssd_avx_epi32(simde__m256i c, simde__m256i a, simde__m256i b) {
  Lanes<uint32_t, 8> r = Lanes<uint32_t, 8>::of(c);
  const Lanes<int16_t, 16> x = Lanes<int16_t, 16>::of(a), y = Lanes<int16_t, 16>::of(b);
  for (int i = 0; i < 16; ++i) r.v[i / 2] += uint32_t(int32_t(x.v[i]) * y.v[i]);
  return r.as<simde__m256i>();
}

}}  // namespace walle_emulated::(anonymous)

#undef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32 walle_emulated::cvtepu8_epi32
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 walle_emulated::cvtepi8_epi32
#undef _mm512_cvtepu8_epi16
#define _mm512_cvtepu8_epi16 walle_emulated::cvtepu8_epi16
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 walle_emulated::cvtepi32_epi8
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps walle_emulated::cvtepi32_ps
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 walle_emulated::cvtps_epi32
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps walle_emulated::cvtph_ps
#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph(x, rounding) walle_emulated::cvtps_ph(x)
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps(x, mode) walle_emulated::roundscale_ps<mode>(x)
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps walle_emulated::maskz_loadu_ps
#undef _mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi32 walle_emulated::maskz_loadu_epi32
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps walle_emulated::mask_storeu_ps
#undef _mm512_mask_storeu_epi32
#define _mm512_mask_storeu_epi32 walle_emulated::mask_storeu_epi32
#undef _mm512_srai_epi32
#define _mm512_srai_epi32 walle_emulated::srai_epi32
#undef _mm512_reduce_add_ps
#define _mm512_reduce_add_ps walle_emulated::reduce_add_ps
#undef _mm512_reduce_max_ps
#define _mm512_reduce_max_ps walle_emulated::reduce_max_ps
#undef _mm512_reduce_min_ps
#define _mm512_reduce_min_ps walle_emulated::reduce_min_ps
#undef _mm512_cvtne2ps_pbh
#define _mm512_cvtne2ps_pbh walle_emulated::cvtne2ps_pbh
#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32 walle_emulated::dpbusd_avx_epi32
#undef _mm256_dpwssd_avx_epi32
#define _mm256_dpwssd_avx_epi32 walle_emulated::dpwssd_avx_epi32
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 simde_mm512_madd_epi16
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 simde_mm512_shuffle_f32x4
#undef _mm512_abs_ps
#define _mm512_abs_ps walle_emulated::abs_ps
#undef _mm512_scalef_ps
#define _mm512_scalef_ps walle_emulated::scalef_ps
#endif
