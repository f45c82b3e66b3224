// Eigenvalues of Hermitian matrices: reduction to a real tridiagonal matrix, then implicit QL (Golub and Van Loan, 8.3).
#ifndef WALLE_MATRIX_EIGEN_HPP
#define WALLE_MATRIX_EIGEN_HPP
#include <algorithm>
#include <numeric>
#include "walle/matrix/householder.hpp"

namespace walle { namespace matrix { namespace {

// Rotates two rows of length n: (x, y) := (c x + s y, c y - s x).
inline void rotate(double* x, double* y, double c, double s, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double p = x[i], q = y[i];
    x[i] = c * p + s * q;
    y[i] = c * q - s * p;
  }
}

// Implicit QL on diagonal d[n] and off-diagonal e[n - 1] (e has room for n). z: rows become eigenvectors, or null.
inline bool tridiagonal_ql(double* d, double* e, int64_t n, double* z) {
  constexpr double eps = std::numeric_limits<double>::epsilon();
  e[n - 1] = 0;
  for (int64_t l = 0; l < n; ++l) {
    for (int sweep = 0;; ++sweep) {
      walle_stop_point();
      int64_t m = l;
      for (; m < n - 1; ++m)
        if (std::fabs(e[m]) <= eps * std::sqrt(std::fabs(d[m])) * std::sqrt(std::fabs(d[m + 1])) ||
            std::fabs(e[m]) < std::numeric_limits<double>::min())
          break;
      if (m == l) break;
      if (sweep == 60) {  // entries of very different size: the looser, norm-wise test
        for (m = l; m < n - 1 && std::fabs(e[m]) > eps * (std::fabs(d[m]) + std::fabs(d[m + 1])); ++m) {}
        if (m == l) break;
      }
      if (sweep > 90) return false;
      double g = (d[l + 1] - d[l]) / (2 * e[l]), r = std::hypot(g, 1.0);
      g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r));
      double s = 1, c = 1, p = 0;
      int64_t i = m - 1;
      for (; i >= l; --i) {
        double f = s * e[i];
        const double b = c * e[i];
        r = std::hypot(f, g);
        e[i + 1] = r;
        if (r == 0) {
          d[i + 1] -= p;
          e[m] = 0;
          break;
        }
        s = f / r, c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        if (z) rotate(z + (i + 1) * n, z + i * n, c, s, n);
      }
      if (i >= l) continue;
      d[l] -= p, e[l] = g, e[m] = 0;
    }
  }
  return true;
}

// Eigenvalues w[n], ascending, of the Hermitian matrix whose lower triangle is in a (destroyed), and the columns
// v[n][n] of eigenvectors unless null. All NaN if an entry is not finite. False: no convergence.
template <class T>
inline bool eigh(T* a, int64_t n, double* w, T* v) {
  if (n == 0) return true;
  for (int64_t i = 0; i < n; ++i) {
    a[i * n + i] = T(real(a[i * n + i]));
    for (int64_t j = 0; j < i; ++j) a[j * n + i] = conj(a[i * n + j]);
  }
  const double most = largest_of(a, n * n);
  if (std::isnan(most)) {
    for (int64_t i = 0; i < n; ++i) w[i] = most;
    if (v) std::fill(v, v + n * n, T(most));
    return true;
  }
  const double up = scale_for(most);
  for (int64_t i = 0; i < n * n; ++i) a[i] = a[i] * up;
  Room<double> d(n), e(n), z;
  Room<T> vs(v ? n * n : n), taus(n), p(n);
  for (int64_t k = 0; k + 1 < n; ++k) {
    walle_stop_point();
    const int64_t m = n - k - 1;
    T* x = vs.data() + (v ? k * n : 0);
    T* sub = a + (k + 1) * n + k + 1;
    for (int64_t i = 0; i < m; ++i) x[i] = a[(k + 1 + i) * n + k];
    const T tau = taus[k] = reflect(x, m, &e[k]);
    if (tau == T(0)) continue;
    for (int64_t i = 0; i < m; ++i) p[i] = T(0);
    for (int64_t i = 0; i < m; ++i) {  // rows of a Hermitian matrix are its columns, conjugated
      const T f = x[i] * tau;
      const T* row = sub + i * n;
      for (int64_t j = 0; j < m; ++j) p[j] += conj(row[j]) * f;
    }
    const T half = tau * inner(p.data(), x, m) * 0.5;
    for (int64_t i = 0; i < m; ++i) p[i] -= half * x[i];
    for (int64_t i = 0; i < m; ++i) {
      T* row = sub + i * n;
      const T f = x[i], g = p[i];
      for (int64_t j = 0; j < m; ++j) row[j] -= f * conj(p[j]) + g * conj(x[j]);
    }
  }
  for (int64_t i = 0; i < n; ++i) d[i] = real(a[i * n + i]);
  if (v) {
    z.assign(n * n, 0.0);
    for (int64_t i = 0; i < n; ++i) z[i * n + i] = 1;
  }
  if (!tridiagonal_ql(d.data(), e.data(), n, v ? z.data() : nullptr)) return false;
  Room<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t(0));
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return d[i] < d[j]; });
  for (int64_t j = 0; j < n; ++j) w[j] = d[order[j]] / up;
  if (!v) return true;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) v[i * n + j] = T(z[order[j] * n + i]);
  for (int64_t k = n - 2; k >= 0; --k)
    apply_left(v + (k + 1) * n, n - k - 1, n, n, vs.data() + k * n, taus[k], p.data());
  return true;
}

}}}  // namespace walle::matrix::(anonymous)
#endif
