// Sums of products that no kernel table has: rows by rows of any dtype, and the real form of a complex matrix.
#ifndef WALLE_MATRIX_PRODUCT_HPP
#define WALLE_MATRIX_PRODUCT_HPP
#include "walle/matrix/number.hpp"

namespace walle { namespace matrix { namespace {

template <class T> inline T conjugate(T x) { return x; }
template <class T> inline Complex<T> conjugate(Complex<T> x) { return {x.re, -x.im}; }

// out[i] = sum over k of a[i * a_step + k] * b[i * b_step + k], in eight chains; integers wrap.
template <class T, bool conj_a>
inline void row_dots(const T* a, const T* b, T* out, int64_t count, int64_t k, int64_t a_step, int64_t b_step) {
  constexpr int kChains = 16;
  for (int64_t i = 0; i < count; ++i, a += a_step, b += b_step) {
    T sums[kChains] = {};
    int64_t j = 0;
    for (; j + kChains <= k; j += kChains)
      for (int c = 0; c < kChains; ++c) sums[c] = T(sums[c] + T((conj_a ? conjugate(a[j + c]) : a[j + c]) * b[j + c]));
    for (int c = 0; j < k; ++j, ++c) sums[c] = T(sums[c] + T((conj_a ? conjugate(a[j]) : a[j]) * b[j]));
    for (int width = kChains / 2; width; width /= 2)
      for (int c = 0; c < width; ++c) sums[c] = T(sums[c] + sums[c + width]);
    out[i] = sums[0];
  }
}

// b [rows][columns] complex -> out [2 rows][2 columns] real: rows (re, im, ...) and (-im, re, ...). A row of complex
// numbers, read as twice as many real ones, times it is the row of the complex product.
template <class R>
inline void real_form(const Complex<R>* b, R* out, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    R *first = out + 4 * i * columns, *second = first + 2 * columns;
    for (int64_t j = 0; j < columns; ++j) {
      const Complex<R> z = b[i * columns + j];
      first[2 * j] = z.re, first[2 * j + 1] = z.im;
      second[2 * j] = -z.im, second[2 * j + 1] = z.re;
    }
  }
}

}}}  // namespace walle::matrix::(anonymous)
#endif
