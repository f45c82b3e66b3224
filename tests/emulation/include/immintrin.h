// Stands in for the compiler's <immintrin.h>: AVX-512 computed by SIMDe's definitions on a processor with AVX2 and FMA, so
// that code for instructions that this processor lacks can be run on it. What SIMDe 0.7.4 lacks is in missing.h.
#ifndef WALLE_EMULATED_IMMINTRIN_H
#define WALLE_EMULATED_IMMINTRIN_H
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "the emulation computes halves of vectors with AVX2, FMA and F16C"
#endif
#include_next <immintrin.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include "missing.h"
#endif
