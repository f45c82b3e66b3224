// Triangular factorisations of row-major matrices, and what solves with them (Golub and Van Loan, 3.4 and 4.2).
#ifndef WALLE_MATRIX_FACTOR_HPP
#define WALLE_MATRIX_FACTOR_HPP
#include <utility>
#include "walle/matrix/number.hpp"
#include "walle/matrix/product_level.hpp"
#include "walle/stop.hpp"

namespace walle { namespace matrix { namespace {

// a[i][j] -= sum over k of l[i][k] u[k][j]; all with row distance ld. Four rows of u at a time, to read a less often.
template <class T>
inline void subtract_product(T* a, const T* l, const T* u, int64_t m, int64_t n, int64_t k, int64_t ld) {
  constexpr int64_t kColumns = 256;
  for (int64_t j0 = 0; j0 < n; j0 += kColumns) {
    const int64_t width = n - j0 < kColumns ? n - j0 : kColumns;
    for (int64_t i = 0; i < m; ++i) {
      T* row = a + i * ld + j0;
      int64_t p = 0;
      for (; p + 4 <= k; p += 4) {
        const T f0 = l[i * ld + p], f1 = l[i * ld + p + 1], f2 = l[i * ld + p + 2], f3 = l[i * ld + p + 3];
        const T *u0 = u + p * ld + j0, *u1 = u0 + ld, *u2 = u1 + ld, *u3 = u2 + ld;
        for (int64_t j = 0; j < width; ++j) row[j] -= (f0 * u0[j] + f1 * u1[j]) + (f2 * u2[j] + f3 * u3[j]);
      }
      for (; p < k; ++p) subtract_scaled(row, u + p * ld + j0, l[i * ld + p], width);
    }
  }
}

// The same in packed form, where that pays.
inline void subtract_product(double* a, const double* l, const double* u, int64_t m, int64_t n, int64_t k, int64_t ld) {
  if (m * n * k >= 32 * 32 * 32 && product_level()->f64.packed(l, ld, u, ld, a, ld, m, n, k, kProductSubtract)) return;
  subtract_product<double>(a, l, u, m, n, k, ld);
}

// P A = L U in place with row pivoting, in panels of columns; pivot[k] is the row swapped with row k.
// sign: of the permutation. Returns false if a pivot is exactly zero (the factors are still made).
template <class T>
inline bool lu(T* a, int64_t n, int64_t* pivot, int* sign) {
  constexpr int64_t kPanel = 32;
  bool regular = true;
  *sign = 1;
  for (int64_t k0 = 0; k0 < n; k0 += kPanel) {
    walle_stop_point();
    const int64_t k1 = k0 + kPanel < n ? k0 + kPanel : n;
    for (int64_t k = k0; k < k1; ++k) {
      int64_t best = k;
      double most = -1;
      for (int64_t i = k; i < n; ++i) {
        const double size = std::fabs(real(a[i * n + k])) + std::fabs(imag(a[i * n + k]));
        if (size > most) most = size, best = i;
      }
      pivot[k] = best;
      if (best != k) {
        *sign = -*sign;
        for (int64_t j = 0; j < n; ++j) std::swap(a[k * n + j], a[best * n + j]);
      }
      const T p = a[k * n + k];
      if (p == T(0)) {
        regular = false;
        continue;
      }
      for (int64_t i = k + 1; i < n; ++i) {
        T& f = a[i * n + k];
        f = f / p;
        subtract_scaled(a + i * n + k + 1, a + k * n + k + 1, f, k1 - k - 1);
      }
    }
    if (k1 == n) break;
    for (int64_t i = k0 + 1; i < k1; ++i)
      for (int64_t k = k0; k < i; ++k) subtract_scaled(a + i * n + k1, a + k * n + k1, a[i * n + k], n - k1);
    subtract_product(a + k1 * n + k1, a + k1 * n + k0, a + k0 * n + k1, n - k1, n - k1, k1 - k0, n);
  }
  return regular;
}

// b := A^-1 b for b [n][m], from the factors of lu.
template <class T>
inline void lu_solve(const T* a, int64_t n, const int64_t* pivot, T* b, int64_t m) {
  for (int64_t k = 0; k < n; ++k)
    if (pivot[k] != k)
      for (int64_t j = 0; j < m; ++j) std::swap(b[k * m + j], b[pivot[k] * m + j]);
  for (int64_t i = 0; i < n; ++i) {
    walle_stop_point();
    for (int64_t k = 0; k < i; ++k)
      if (!(a[i * n + k] == T(0))) subtract_scaled(b + i * m, b + k * m, a[i * n + k], m);
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    walle_stop_point();
    for (int64_t k = i + 1; k < n; ++k)
      if (!(a[i * n + k] == T(0))) subtract_scaled(b + i * m, b + k * m, a[i * n + k], m);
    for (int64_t j = 0; j < m; ++j) b[i * m + j] = b[i * m + j] / a[i * n + i];
  }
}

// Lower L with A = L L^H, in place, from the lower triangle; the upper one becomes zero. False: not positive definite.
template <class T>
inline bool cholesky(T* a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    walle_stop_point();
    T* row = a + i * n;
    for (int64_t j = 0; j < i; ++j)
      row[j] = (row[j] - conj(inner(row, a + j * n, j))) / real(a[j * n + j]);
    const double left = real(row[i]) - real(inner(row, row, i));
    if (!(left > 0) || !std::isfinite(left)) return false;
    row[i] = T(std::sqrt(left));
    for (int64_t j = i + 1; j < n; ++j) row[j] = T(0);
  }
  return true;
}

}}}  // namespace walle::matrix::(anonymous)
#endif
