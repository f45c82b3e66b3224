// Typed entries of the linear algebra: batches of matrices by dtype number, as walle_core.matrix.dtypes counts them.
//
// Single precision is widened: linear algebra is done in double, and each result rounded once.
#ifndef WALLE_MATRIX_BATCHES_HPP
#define WALLE_MATRIX_BATCHES_HPP
#include "walle/guarded.hpp"
#include "walle/matrix/factor.hpp"
#include "walle/matrix/svd.hpp"
#include "walle/matrix/types.hpp"

namespace walle { namespace matrix { namespace {

template <class S> struct Traits;
template <> struct Traits<float> { using Wide = double; using Real = float; };
template <> struct Traits<double> { using Wide = double; using Real = double; };
template <> struct Traits<Complex<float>> { using Wide = Z; using Real = float; };
template <> struct Traits<Z> { using Wide = Z; using Real = double; };

inline double wide(float x) { return x; }
inline double wide(double x) { return x; }
inline Z wide(Complex<float> x) { return {x.re, x.im}; }
inline Z wide(Z x) { return x; }
inline void narrow(float& to, double x) { to = float(x); }
inline void narrow(double& to, double x) { to = x; }
inline void narrow(Complex<float>& to, Z x) { to = {float(x.re), float(x.im)}; }
inline void narrow(Z& to, Z x) { to = x; }

template <class S, class W>
inline void widen_all(const S* in, W* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = wide(in[i]);
}

template <class S, class W>
inline void narrow_all(const W* in, S* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) narrow(out[i], in[i]);
}

// x = a^-1 b, or a^-1 where b is null and m = n. Returns the first singular matrix of the batch, or -1.
template <class S>
inline int64_t solve_batch(const void* a_, const void* b_, void* x_, int64_t batch, int64_t n, int64_t m) {
  using W = typename Traits<S>::Wide;
  const S *a = static_cast<const S*>(a_), *b = static_cast<const S*>(b_);
  S* x = static_cast<S*>(x_);
  Room<W> lhs(n * n), rhs(n * m);
  Room<int64_t> pivot(n);
  int sign;
  for (int64_t t = 0; t < batch; ++t) {
    widen_all(a + t * n * n, lhs.data(), n * n);
    if (!lu(lhs.data(), n, pivot.data(), &sign)) return t;
    if (b) widen_all(b + t * n * m, rhs.data(), n * m);
    else
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j) rhs[i * m + j] = W(i == j ? 1 : 0);
    lu_solve(lhs.data(), n, pivot.data(), rhs.data(), m);
    narrow_all(rhs.data(), x + t * n * m, n * m);
  }
  return -1;
}

// Determinants: det, or sign and logarithm of the magnitude; the others are null.
template <class S>
inline int64_t det_batch(const void* a_, void* det, void* sign_, void* log_, int64_t batch, int64_t n) {
  using W = typename Traits<S>::Wide;
  using R = typename Traits<S>::Real;
  Room<W> lhs(n * n);
  Room<int64_t> pivot(n);
  for (int64_t t = 0; t < batch; ++t) {
    int flips;
    widen_all(static_cast<const S*>(a_) + t * n * n, lhs.data(), n * n);
    lu(lhs.data(), n, pivot.data(), &flips);
    W product = W(flips), sign = W(flips);
    double log = 0;
    for (int64_t i = 0; i < n; ++i) {
      const W p = lhs[i * n + i];
      const double size = magnitude(p);
      product *= p;
      sign *= size == 0 ? W(0) : p / size;
      log += std::log(size);
    }
    if (det) narrow(static_cast<S*>(det)[t], product);
    else narrow(static_cast<S*>(sign_)[t], sign), static_cast<R*>(log_)[t] = R(log);
  }
  return -1;
}

// The factor, lower or upper; reads that triangle. Returns the first matrix that is not positive definite, or -1.
template <class S>
inline int64_t cholesky_batch(const void* a_, void* out_, int64_t batch, int64_t n, bool upper) {
  using W = typename Traits<S>::Wide;
  Room<W> x(n * n);
  for (int64_t t = 0; t < batch; ++t) {
    const S* a = static_cast<const S*>(a_) + t * n * n;
    S* out = static_cast<S*>(out_) + t * n * n;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) x[i * n + j] = upper ? conj(wide(a[j * n + i])) : wide(a[i * n + j]);
    if (!cholesky(x.data(), n)) return t;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) narrow(out[i * n + j], upper ? conj(x[j * n + i]) : x[i * n + j]);
  }
  return -1;
}

// q may be null.
template <class S>
inline int64_t qr_batch(const void* a_, void* q_, void* r_, int64_t batch, int64_t m, int64_t n, bool complete) {
  using W = typename Traits<S>::Wide;
  const int64_t rows = complete || m < n ? m : n;
  Room<W> a(m * n), q(q_ ? m * rows : 0), r(rows * n);
  for (int64_t t = 0; t < batch; ++t) {
    widen_all(static_cast<const S*>(a_) + t * m * n, a.data(), m * n);
    qr(a.data(), m, n, complete, q_ ? q.data() : nullptr, r.data());
    if (q_) narrow_all(q.data(), static_cast<S*>(q_) + t * m * rows, m * rows);
    narrow_all(r.data(), static_cast<S*>(r_) + t * rows * n, rows * n);
  }
  return -1;
}

// v may be null. Returns the first matrix without convergence, or -1.
template <class S>
inline int64_t eigh_batch(const void* a_, void* w_, void* v_, int64_t batch, int64_t n, bool upper) {
  using W = typename Traits<S>::Wide;
  Room<W> a(n * n), v(v_ ? n * n : 0);
  Room<double> w(n);
  for (int64_t t = 0; t < batch; ++t) {
    const S* from = static_cast<const S*>(a_) + t * n * n;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) a[i * n + j] = upper ? conj(wide(from[j * n + i])) : wide(from[i * n + j]);
    if (!eigh(a.data(), n, w.data(), v_ ? v.data() : nullptr)) return t;
    narrow_all(w.data(), static_cast<typename Traits<S>::Real*>(w_) + t * n, n);
    if (v_) narrow_all(v.data(), static_cast<S*>(v_) + t * n * n, n * n);
  }
  return -1;
}

// u and vh may be null together. Returns the first matrix without convergence, or -1.
template <class S>
inline int64_t svd_batch(const void* a_, void* u_, void* s_, void* vh_, int64_t batch, int64_t m, int64_t n, bool full) {
  using W = typename Traits<S>::Wide;
  const int64_t k = m < n ? m : n, uc = full ? m : k, vr = full ? n : k;
  Room<W> a(m * n), u(u_ ? m * uc + 1 : 0), vh(u_ ? vr * n + 1 : 0);  // not null where they are empty
  Room<double> s(k);
  for (int64_t t = 0; t < batch; ++t) {
    widen_all(static_cast<const S*>(a_) + t * m * n, a.data(), m * n);
    if (!svd(a.data(), m, n, full, s.data(), u_ ? u.data() : nullptr, u_ ? vh.data() : nullptr)) return t;
    narrow_all(s.data(), static_cast<typename Traits<S>::Real*>(s_) + t * k, k);
    if (!u_) continue;
    narrow_all(u.data(), static_cast<S*>(u_) + t * m * uc, m * uc);
    narrow_all(vh.data(), static_cast<S*>(vh_) + t * vr * n, vr * n);
  }
  return -1;
}

#define WALLE_BY_FLOAT(code, call)                       \
  return guarded([&]() -> int64_t { switch (code) {                                        \
    case kF32: { using S = float; return call; }     \
    case kF64: { using S = double; return call; }    \
    case kC64: { using S = Complex<float>; return call; } \
    default: { using S = Z; return call; }               \
  } });

inline int64_t solve(int code, const void* a, const void* b, void* x, int64_t batch, int64_t n, int64_t m) {
  WALLE_BY_FLOAT(code, (solve_batch<S>(a, b, x, batch, n, m)))
}
inline int64_t det(int code, const void* a, void* out, void* sign, void* log, int64_t batch, int64_t n) {
  WALLE_BY_FLOAT(code, (det_batch<S>(a, out, sign, log, batch, n)))
}
inline int64_t cholesky(int code, const void* a, void* out, int64_t batch, int64_t n, bool upper) {
  WALLE_BY_FLOAT(code, (cholesky_batch<S>(a, out, batch, n, upper)))
}
inline int64_t qr(int code, const void* a, void* q, void* r, int64_t batch, int64_t m, int64_t n, bool complete) {
  WALLE_BY_FLOAT(code, (qr_batch<S>(a, q, r, batch, m, n, complete)))
}
inline int64_t eigh(int code, const void* a, void* w, void* v, int64_t batch, int64_t n, bool upper) {
  WALLE_BY_FLOAT(code, (eigh_batch<S>(a, w, v, batch, n, upper)))
}
inline int64_t svd(int code, const void* a, void* u, void* s, void* vh, int64_t batch, int64_t m, int64_t n, bool full) {
  WALLE_BY_FLOAT(code, (svd_batch<S>(a, u, s, vh, batch, m, n, full)))
}

}}}  // namespace walle::matrix::(anonymous)
#endif
