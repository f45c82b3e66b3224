// Singular values: Q R, reduction to a real bidiagonal matrix, implicit QR steps (Golub and Kahan 1965; LINPACK's cases).
#ifndef WALLE_MATRIX_SVD_HPP
#define WALLE_MATRIX_SVD_HPP
#include "walle/matrix/eigen.hpp"

namespace walle { namespace matrix { namespace {

inline void plane(double x, double y, double* c, double* s, double* r) {
  *r = std::hypot(x, y);
  *c = *r == 0 ? 1 : x / *r;
  *s = *r == 0 ? 0 : y / *r;
}

// Singular values of the upper bidiagonal matrix (s[n], e[n]) in place, not sorted, not negative. Rows of u and v
// (n x n, or null) take the rotations.
inline bool bidiagonal_qr(double* s, double* e, int64_t n, double* u, double* v) {
  constexpr double eps = std::numeric_limits<double>::epsilon(), tiny = std::numeric_limits<double>::min();
  const auto turn = [n](double* z, int64_t i, int64_t j, double cs, double sn) {
    if (z) rotate(z + i * n, z + j * n, cs, sn, n);
  };
  e[n - 1] = 0;
  int64_t steps = 0;
  for (int64_t p = n; p > 0;) {
    walle_stop_point();
    double cs, sn, f, g;
    int64_t k = p - 2, zero = p - 1;
    for (; k >= 0; --k)
      if (std::fabs(e[k]) <= tiny + eps * (std::fabs(s[k]) + std::fabs(s[k + 1]))) {
        e[k] = 0;
        break;
      }
    if (k == p - 2) {  // s[p - 1] stands alone
      if (std::signbit(s[p - 1])) {
        s[p - 1] = -s[p - 1];
        if (v) scale(v + (p - 1) * n, -1.0, n);
      }
      --p, steps = 0;
      continue;
    }
    for (; zero > k; --zero) {
      const double around = (zero != p - 1 ? std::fabs(e[zero]) : 0) + (zero != k + 1 ? std::fabs(e[zero - 1]) : 0);
      if (std::fabs(s[zero]) <= tiny + eps * around) {
        s[zero] = 0;
        break;
      }
    }
    if (zero == p - 1) {  // the last value is zero: chase e[p - 2] out to the top
      f = e[p - 2], e[p - 2] = 0;
      for (int64_t j = p - 2; j > k; --j) {
        plane(s[j], f, &cs, &sn, &s[j]);
        if (j != k + 1) f = -sn * e[j - 1], e[j - 1] *= cs;
        turn(v, j, p - 1, cs, sn);
      }
    } else if (zero > k) {  // a zero within: chase the entry right of it
      f = e[zero], e[zero] = 0;
      for (int64_t j = zero + 1; j < p; ++j) {
        plane(s[j], f, &cs, &sn, &s[j]);
        f = -sn * e[j], e[j] *= cs;
        turn(u, j, zero, cs, sn);
      }
    } else {  // an implicit step with Wilkinson's shift
      if (++steps > 100) return false;
      ++k;
      const double most = std::fmax(std::fmax(std::fmax(std::fabs(s[p - 1]), std::fabs(s[p - 2])),
                                              std::fmax(std::fabs(e[p - 2]), std::fabs(s[k]))), std::fabs(e[k]));
      const double sp = s[p - 1] / most, sq = s[p - 2] / most, ep = e[p - 2] / most, sk = s[k] / most, ek = e[k] / most;
      const double b = ((sq + sp) * (sq - sp) + ep * ep) / 2, c = sp * ep * (sp * ep);
      double shift = 0;
      if (b != 0 || c != 0) {
        shift = std::sqrt(b * b + c);
        shift = c / (b + (b < 0 ? -shift : shift));
      }
      f = (sk + sp) * (sk - sp) + shift, g = sk * ek;
      for (int64_t j = k; j < p - 1; ++j) {
        double r;
        plane(f, g, &cs, &sn, &r);
        if (j != k) e[j - 1] = r;
        f = cs * s[j] + sn * e[j];
        e[j] = cs * e[j] - sn * s[j];
        g = sn * s[j + 1], s[j + 1] *= cs;
        turn(v, j, j + 1, cs, sn);
        plane(f, g, &cs, &sn, &s[j]);
        f = cs * e[j] + sn * s[j + 1];
        s[j + 1] = cs * s[j + 1] - sn * e[j];
        g = sn * e[j + 1], e[j + 1] *= cs;
        turn(u, j, j + 1, cs, sn);
      }
      e[p - 2] = f;
    }
  }
  return true;
}

// a [n][n] (destroyed) = u diag(s) v^H with s not negative, descending; u and vh [n][n], or both null.
template <class T>
inline bool svd_square(T* a, int64_t n, double* s, T* u, T* vh) {
  Room<double> d(n), e(n), zu, zv;
  Room<T> left(u ? n * n : n), right(u ? n * n : n), tl(n), tr(n);
  Room<T> work(n + 1), other(n + 1);
  for (int64_t k = 0; k < n; ++k) {
    T* x = left.data() + (u ? k * n : 0);
    for (int64_t i = k; i < n; ++i) x[i - k] = a[i * n + k];
    tl[k] = reflect(x, n - k, &d[k]);
    apply_left(a + k * n + k + 1, n - k, n - k - 1, n, x, conj(tl[k]), work.data());
    if (k + 1 == n) break;
    // The row, conjugated, is reflected as a column: a := a H, and the entry becomes real.
    T* y = right.data() + (u ? k * n : 0);
    const int64_t m = n - k - 1;
    for (int64_t j = 0; j < m; ++j) y[j] = conj(a[k * n + k + 1 + j]);
    tr[k] = reflect(y, m, &e[k]);
    for (int64_t j = 0; j < m; ++j) other[j] = conj(y[j]);
    if (tr[k] == T(0)) continue;
    for (int64_t i = k + 1; i < n; ++i) {
      T* row = a + i * n + k + 1;
      subtract_scaled(row, other.data(), tr[k] * inner(other.data(), row, m), m);
    }
  }
  if (u) {
    zu.assign(n * n, 0.0), zv.assign(n * n, 0.0);
    for (int64_t i = 0; i < n; ++i) zu[i * n + i] = zv[i * n + i] = 1;
  }
  if (!bidiagonal_qr(d.data(), e.data(), n, u ? zu.data() : nullptr, u ? zv.data() : nullptr)) return false;
  Room<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t(0));
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return d[i] > d[j]; });
  for (int64_t j = 0; j < n; ++j) s[j] = d[order[j]];
  if (!u) return true;
  Room<T> v(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      u[i * n + j] = T(zu[order[j] * n + i]);
      v[i * n + j] = T(zv[order[j] * n + i]);
    }
  for (int64_t k = n - 1; k >= 0; --k)
    apply_left(u + k * n, n - k, n, n, left.data() + k * n, tl[k], work.data());
  for (int64_t k = n - 2; k >= 0; --k)
    apply_left(v.data() + (k + 1) * n, n - k - 1, n, n, right.data() + k * n, tr[k], work.data());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) vh[j * n + i] = conj(v[i * n + j]);
  return true;
}

// a [m][n] (destroyed) = u diag(s) vh. s[min], u [m][m or min], vh [n or min][n]; u and vh may be null together.
template <class T>
inline bool svd(T* a, int64_t m, int64_t n, bool full, double* s, T* u, T* vh) {
  const int64_t k = m < n ? m : n;
  const double most = largest_of(a, m * n);
  if (std::isnan(most)) {
    std::fill(s, s + k, most);
    if (u) std::fill(u, u + m * (full ? m : k), T(most)), std::fill(vh, vh + (full ? n : k) * n, T(most));
    return true;
  }
  const double up = scale_for(most);
  const bool wide = m < n;
  const int64_t rows = wide ? n : m, q_columns = full ? rows : k;
  Room<T> tall(m * n), q(u ? rows * q_columns : 0), r(q_columns * k), inner_u, inner_vh;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) tall[wide ? j * m + i : i * n + j] = (wide ? conj(a[i * n + j]) : a[i * n + j]) * up;
  qr(tall.data(), rows, k, full, u ? q.data() : nullptr, r.data());
  if (u) inner_u.resize(k * k), inner_vh.resize(k * k);
  if (k && !svd_square(r.data(), k, s, u ? inner_u.data() : nullptr, u ? inner_vh.data() : nullptr)) return false;
  for (int64_t i = 0; i < k; ++i) s[i] /= up;
  if (!u) return true;
  Room<T> row(k + 1);
  for (int64_t i = 0; i < rows; ++i) {  // the first k columns of q, times the inner u
    walle_stop_point();
    std::fill(row.begin(), row.end(), T(0));
    for (int64_t p = 0; p < k; ++p)
      for (int64_t j = 0; j < k; ++j) row[j] += q[i * q_columns + p] * inner_u[p * k + j];
    std::copy(row.begin(), row.begin() + k, q.begin() + i * q_columns);
  }
  if (!wide) {
    std::copy(q.begin(), q.end(), u);
    std::copy(inner_vh.begin(), inner_vh.end(), vh);
    return true;
  }
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j) u[j * k + i] = conj(inner_vh[i * k + j]);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < q_columns; ++j) vh[j * rows + i] = conj(q[i * q_columns + j]);
  return true;
}

}}}  // namespace walle::matrix::(anonymous)
#endif
