// The intrinsics of missing.h, and those of SIMDe that multiply narrow numbers, as functions of memory.
#include <immintrin.h>

template <class T> static T load(const void* p) {
  T x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
template <class T> static void store(void* p, T x) { std::memcpy(p, &x, sizeof x); }

#define CALL extern "C" __attribute__((visibility("default"))) void
#define ONE(name, A) CALL name(void* to, const void* a) { store(to, _mm512_##name(load<A>(a))); }
#define TWO(name, A) CALL name(void* to, const void* a, const void* b) { store(to, _mm512_##name(load<A>(a), load<A>(b))); }
#define DOT(name, call, S, A) \
  CALL name(void* to, const void* c, const void* a, const void* b) { store(to, call(load<S>(c), load<A>(a), load<A>(b))); }

ONE(cvtepu8_epi32, __m128i)
ONE(cvtepi8_epi32, __m128i)
ONE(cvtepu8_epi16, __m256i)
ONE(cvtepi32_epi8, __m512i)
ONE(cvtepi32_ps, __m512i)
ONE(cvtps_epi32, __m512)
ONE(cvtph_ps, __m256i)
ONE(abs_ps, __m512)
ONE(reduce_add_ps, __m512)
ONE(reduce_max_ps, __m512)
ONE(reduce_min_ps, __m512)
TWO(scalef_ps, __m512)
TWO(cvtne2ps_pbh, __m512)
TWO(madd_epi16, __m512i)
DOT(dpbf16_ps, _mm512_dpbf16_ps, __m512, __m512bh)
DOT(dpbusd, _mm512_dpbusd_epi32, __m512i, __m512i)
DOT(dpwssd, _mm512_dpwssd_epi32, __m512i, __m512i)
DOT(dpbusd_avx, _mm256_dpbusd_avx_epi32, __m256i, __m256i)
DOT(dpwssd_avx, _mm256_dpwssd_avx_epi32, __m256i, __m256i)
CALL cvtps_ph(void* to, const void* a) { store(to, _mm512_cvtps_ph(load<__m512>(a), _MM_FROUND_TO_NEAREST_INT)); }
CALL floor_ps(void* to, const void* a) { store(to, _mm512_roundscale_ps(load<__m512>(a), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)); }
CALL ceil_ps(void* to, const void* a) { store(to, _mm512_roundscale_ps(load<__m512>(a), _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)); }
CALL srai_epi32(void* to, const void* a) { store(to, _mm512_srai_epi32(load<__m512i>(a), 7)); }
CALL shuffle_f32x4(void* to, const void* a, const void* b) { store(to, _mm512_shuffle_f32x4(load<__m512>(a), load<__m512>(b), 0xd8)); }
CALL maskz_loadu_ps(void* to, const void* mask, const void* p) { store(to, _mm512_maskz_loadu_ps(load<__mmask16>(mask), p)); }
CALL maskz_loadu_epi32(void* to, const void* mask, const void* p) { store(to, _mm512_maskz_loadu_epi32(load<__mmask16>(mask), p)); }
CALL mask_storeu_ps(void* to, const void* mask, const void* p) { _mm512_mask_storeu_ps(to, load<__mmask16>(mask), load<__m512>(p)); }
CALL mask_storeu_epi32(void* to, const void* mask, const void* p) { _mm512_mask_storeu_epi32(to, load<__mmask16>(mask), load<__m512i>(p)); }
