// Sums of products that no kernel table has: rows by rows of any dtype, and the real form of a complex matrix.
#ifndef WALLE_MATRIX_PRODUCT_HPP
#define WALLE_MATRIX_PRODUCT_HPP
#include <vector>
#include "walle/matrix/number.hpp"
#include "walle/matrix/product_level.hpp"
#include "walle/stop.hpp"

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

// a [rows][k] complex -> out [2 rows][k]: the real parts of each row, then its imaginary ones. Their products with a
// matrix of complex numbers, read as real ones, are put together by `joined`.
template <class R>
inline void parted(const Complex<R>* a, R* out, int64_t rows, int64_t k) {
  for (int64_t i = 0; i < rows; ++i, out += 2 * k)
    for (int64_t j = 0; j < k; ++j) out[j] = a[i * k + j].re, out[k + j] = a[i * k + j].im;
}
template <class R>
inline void joined(const R* p, Complex<R>* out, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i, p += 4 * n)
    for (int64_t j = 0; j < n; ++j) out[i * n + j] = {p[2 * j] - p[2 * n + 2 * j + 1], p[2 * j + 1] + p[2 * n + 2 * j]};
}

// out [m][n] = a [m][k] b [k][n] of integers, which wrap; k >= 1.
template <class T>
inline bool multiply(const T* a, const T* b, T* out, int64_t m, int64_t n, int64_t k) {
  for (int64_t i = 0; i < m; ++i) {
    walle_stop_point();
    T* to = out + i * n;
    for (int64_t j = 0; j < n; ++j) to[j] = 0;
    for (int64_t p = 0; p < k; ++p) {
      const T f = a[i * k + p];
      for (int64_t j = 0; j < n; ++j) to[j] = T(to[j] + T(f * b[p * n + j]));
    }
  }
  return true;
}
// The packed product of more than a few milliseconds, in parts along its own blocks, which sum in the same order.
template <class T>
inline bool multiply_parts(const Products<T>& with, const T* a, const T* b, T* out, int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kSide = 1024;  // a multiple of the blocks' columns and depth
  for (int64_t j = 0; j < n; j += kSide)
    for (int64_t i = 0; i < m; i += kSide)
      for (int64_t p = 0; p < k; p += kSide) {
        walle_stop_point();
        const int64_t rows = m - i < kSide ? m - i : kSide, columns = n - j < kSide ? n - j : kSide;
        if (!with.packed(a + i * k + p, k, b + p * n + j, n, out + i * n + j, n, rows, columns, k - p < kSide ? k - p : kSide,
                         p ? kProductAdd : kProductSet))
          return false;
      }
  return true;
}
template <class T>
inline bool multiply(const Products<T>& with, const T* a, const T* b, T* out, int64_t m, int64_t n, int64_t k) {
  if (m >= 4 && n >= 8 && m * n * k >= 20 * 20 * 20) {
    if (m * n * k >= int64_t(1) << 30) return multiply_parts(with, a, b, out, m, n, k);
    return with.packed(a, k, b, n, out, n, m, n, k, kProductSet);
  }
  with.rows(a, b, out, m, n, k);
  return true;
}
inline bool multiply(const float* a, const float* b, float* out, int64_t m, int64_t n, int64_t k) {
  return multiply(product_level()->f32, a, b, out, m, n, k);
}
inline bool multiply(const double* a, const double* b, double* out, int64_t m, int64_t n, int64_t k) {
  return multiply(product_level()->f64, a, b, out, m, n, k);
}

inline const Products<float>& level_of(float) { return product_level()->f32; }
inline const Products<double>& level_of(double) { return product_level()->f64; }

inline bool row_dots_fast(const float* a, const float* b, float* out, int64_t count, int64_t k, int64_t a_step, int64_t b_step) {
  product_level()->f32.dots(a, b, out, count, k, a_step, b_step, 1);
  return true;
}
inline bool row_dots_fast(const double* a, const double* b, double* out, int64_t count, int64_t k, int64_t a_step, int64_t b_step) {
  product_level()->f64.dots(a, b, out, count, k, a_step, b_step, 1);
  return true;
}
// Rows by one vector of complex numbers: two real sums with the vector in real form.
template <class R>
inline bool row_dots_fast(const Complex<R>* a, const Complex<R>* b, Complex<R>* out, int64_t count, int64_t k, int64_t a_step,
                          int64_t b_step) {
  if (b_step != 0 || count < 4) return false;
  std::vector<R> turned(size_t(4 * k));
  R *re = turned.data(), *im = re + 2 * k;
  for (int64_t j = 0; j < k; ++j) {
    re[2 * j] = b[j].re, re[2 * j + 1] = -b[j].im;
    im[2 * j] = b[j].im, im[2 * j + 1] = b[j].re;
  }
  const auto& with = level_of(R());
  const R* x = reinterpret_cast<const R*>(a);
  R* to = reinterpret_cast<R*>(out);
  for (int64_t i = 0; i < count; ++i) {
    with.dots(x + 2 * i * a_step, re, to + 2 * i, 1, 2 * k, 0, 0, 2);
    with.dots(x + 2 * i * a_step, im, to + 2 * i + 1, 1, 2 * k, 0, 0, 2);
  }
  return true;
}
template <class T>
inline bool row_dots_fast(const T*, const T*, T*, int64_t, int64_t, int64_t, int64_t) {
  return false;
}

}}}  // namespace walle::matrix::(anonymous)
#endif
