// Householder reflections H = I - tau v v^H with v[0] = 1, and the factorisation A = Q R (Golub and Van Loan, 5.1, 5.2).
#ifndef WALLE_MATRIX_HOUSEHOLDER_HPP
#define WALLE_MATRIX_HOUSEHOLDER_HPP
#include "walle/matrix/number.hpp"
#include "walle/stop.hpp"

namespace walle { namespace matrix { namespace {

// Makes x (n elements) the vector v and returns tau, so that H^H x = (beta, 0, ...) with a real beta of the sign
// opposite to x[0]'s real part.
template <class T>
inline T reflect(T* x, int64_t n, double* beta) {
  const double most = largest_of(x + 1, n - 1);
  if (most == 0 && imag(x[0]) == 0) {
    *beta = real(x[0]);
    x[0] = T(1);
    return T(0);
  }
  const double up = scale_for(std::fmax(most, largest(x[0])));
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) x[i] = x[i] * up, sum += square(x[i]);
  const double length = std::sqrt(sum), b = real(x[0]) > 0 ? -length : length;
  T tau;
  set_parts(tau, (b - real(x[0])) / b, -imag(x[0]) / b);
  const T below = x[0] - T(b);
  for (int64_t i = 1; i < n; ++i) x[i] = x[i] / below;
  x[0] = T(1);
  *beta = b / up;
  return tau;
}

// rows of a [m][n] (distance ld) := (I - tau v v^H) a; work: n elements.
template <class T>
inline void apply_left(T* a, int64_t m, int64_t n, int64_t ld, const T* v, T tau, T* work) {
  walle_stop_point();
  if (tau == T(0)) return;
  for (int64_t j = 0; j < n; ++j) work[j] = T(0);
  for (int64_t i = 0; i < m; ++i) {
    const T f = conj(v[i]);
    for (int64_t j = 0; j < n; ++j) work[j] += f * a[i * ld + j];
  }
  for (int64_t i = 0; i < m; ++i) subtract_scaled(a + i * ld, work, tau * v[i], n);
}


// Q R of a [m][n]. r: [rows][n], q: [m][rows] with rows = min(m, n), or m where `complete`; q may be null.
template <class T>
inline void qr(T* a, int64_t m, int64_t n, bool complete, T* q, T* r) {
  const int64_t steps = m < n ? m : n, rows = complete ? m : steps;
  Room<T> vs(steps * m), taus(steps), work(n > rows ? n : rows + 1);
  for (int64_t k = 0; k < steps; ++k) {
    T* v = vs.data() + k * m;
    for (int64_t i = k; i < m; ++i) v[i] = a[i * n + k];
    double beta;
    taus[k] = reflect(v + k, m - k, &beta);
    a[k * n + k] = T(beta);
    apply_left(a + k * n + k + 1, m - k, n - k - 1, n, v + k, conj(taus[k]), work.data());
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < n; ++j) r[i * n + j] = j < i ? T(0) : a[i * n + j];
  if (!q) return;
  for (int64_t i = 0; i < m * rows; ++i) q[i] = T(0);
  for (int64_t i = 0; i < rows; ++i) q[i * rows + i] = T(1);
  for (int64_t k = steps - 1; k >= 0; --k)
    apply_left(q + k * rows + k, m - k, rows - k, rows, vs.data() + k * m + k, taus[k], work.data());
}

}}}  // namespace walle::matrix::(anonymous)
#endif
