// The packed products of one level of processors, and the best level that this processor has.
#ifndef WALLE_MATRIX_PRODUCT_LEVEL_HPP
#define WALLE_MATRIX_PRODUCT_LEVEL_HPP
#include <stdint.h>

namespace walle { namespace matrix {

enum { kProductSet, kProductAdd, kProductSubtract };

template <class T>
struct Products {
  // c [m][n] = (or +=, -=) a [m][k] b [k][n], rows at distances ld*; k >= 1. False: no memory.
  bool (*packed)(const T* a, int64_t lda, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t m, int64_t n, int64_t k,
                 int mode);
  // c = a b, all dense, for few rows or small matrices.
  void (*rows)(const T* a, const T* b, T* c, int64_t m, int64_t n, int64_t k);
  // out[i * out_step] = sum of a[i * a_step + j] b[i * b_step + j], j < k.
  void (*dots)(const T* a, const T* b, T* out, int64_t count, int64_t k, int64_t a_step, int64_t b_step, int64_t out_step);
};

struct ProductLevel {
  Products<float> f32;
  Products<double> f64;
};

}}  // namespace walle::matrix

extern "C" const walle::matrix::ProductLevel* walle_product_base();
extern "C" const walle::matrix::ProductLevel* walle_product_v3();
extern "C" const walle::matrix::ProductLevel* walle_product_v4();

namespace walle { namespace matrix {

inline const ProductLevel* product_level() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  static const ProductLevel* const best = __builtin_cpu_supports("x86-64-v4")   ? walle_product_v4()
                                          : __builtin_cpu_supports("x86-64-v3") ? walle_product_v3()
                                                                                : walle_product_base();
  return best;
#else
  return walle_product_base();
#endif
}

}}  // namespace walle::matrix
#endif
