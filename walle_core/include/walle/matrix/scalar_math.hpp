// Formulas of the operators on one element, where C++ has none or another.
#ifndef WALLE_MATRIX_SCALAR_MATH_HPP
#define WALLE_MATRIX_SCALAR_MATH_HPP
#include <cmath>
#include <limits>
#include <type_traits>

#include "walle/matrix/types.hpp"

namespace walle { namespace matrix {

template <class T> constexpr bool kInteger = std::is_integral<T>::value;
template <class T> constexpr bool kSignedInt = std::is_integral<T>::value && std::is_signed<T>::value;
template <class T> constexpr bool kFloat = std::is_floating_point<T>::value;

// Integers: division rounds down, x / 0 = 0, the lowest value divided by -1 wraps.
template <class T> inline T floor_div_int(T a, T b) {
  if (b == 0) return 0;
  if constexpr (kSignedInt<T>) {
    if (b == T(-1)) return T(0u - std::make_unsigned_t<T>(a));
    const T q = T(a / b);
    return T(q - (T(a % b) != 0 && ((a < 0) != (b < 0))));
  } else {
    return T(a / b);
  }
}
template <class T> inline T rem_int(T a, T b) {
  if (b == 0) return 0;
  if constexpr (kSignedInt<T>) {
    if (b == T(-1)) return 0;
    const T r = T(a % b);
    return T(r != 0 && ((r < 0) != (b < 0)) ? r + b : r);
  } else {
    return T(a % b);
  }
}
template <class T> inline T pow_int(T a, T b) {  // negative exponents: the integer part of the quotient
  if constexpr (kSignedInt<T>) {
    if (b < 0) return a == 1 ? T(1) : a == T(-1) ? (b & 1 ? T(-1) : T(1)) : T(0);
  }
  uint64_t x = uint64_t(a), y = 1;
  for (uint64_t n = uint64_t(b); n; n >>= 1, x *= x)
    if (n & 1) y *= x;
  return T(y);
}
template <class T> inline T shift_left(T a, T b) {
  return uint64_t(b) < 8 * sizeof(T) ? T(uint64_t(a) << uint64_t(b)) : T(0);
}
template <class T> inline T shift_right(T a, T b) {
  if (uint64_t(b) < 8 * sizeof(T)) return T(a >> b);
  return T(kSignedInt<T> && a < T(0) ? -1 : 0);
}

// Floats: the remainder has the divisor's sign, the quotient is its companion, as in Python.
template <class T> inline T rem_float(T a, T b) {
  const T r = std::fmod(a, b);
  if (b == 0 || r != r) return r;
  if (r == 0) return std::copysign(T(0), b);
  return (b < 0) != (r < 0) ? r + b : r;
}
template <class T> inline T floor_div_float(T a, T b) {
  if (b == 0) return a / b;
  T r = std::fmod(a, b);
  if (r != r) return r;
  T q = (a - r) / b;
  if (r != 0 && (b < 0) != (r < 0)) q -= 1;
  if (q == 0) return std::copysign(T(0), a / b);
  const T f = std::floor(q);
  return q - f > T(0.5) ? f + 1 : f;
}
template <class T> inline T log_add_exp(T a, T b) {
  if (a == b) return a + T(0.693147180559945309417232121458176568);
  const T d = a - b;
  if (d > 0) return a + std::log1p(std::exp(-d));
  if (d <= 0) return b + std::log1p(std::exp(d));
  return d;
}

template <class R> inline std::complex<R> mul(std::complex<R> a, std::complex<R> b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}
template <class R> inline std::complex<R> div(std::complex<R> a, std::complex<R> b) {  // Smith, CACM 5(8), 1962
  const R br = b.real(), bi = b.imag(), abs_r = std::fabs(br), abs_i = std::fabs(bi);
  if (abs_r >= abs_i) {
    if (abs_r == 0 && abs_i == 0) return {a.real() / abs_r, a.imag() / abs_r};
    const R t = bi / br, s = 1 / (br + bi * t);
    return {(a.real() + a.imag() * t) * s, (a.imag() - a.real() * t) * s};
  }
  const R t = br / bi, s = 1 / (bi + br * t);
  return {(a.real() * t + a.imag()) * s, (a.imag() * t - a.real()) * s};
}
template <class R> inline std::complex<R> pow_complex(std::complex<R> a, std::complex<R> b) {
  const R ar = a.real(), ai = a.imag(), br = b.real(), bi = b.imag();
  if (br == 0 && bi == 0) return {1, 0};
  if (ar == 0 && ai == 0) {
    if (br > 0 && bi == 0) return {0, 0};
    return {std::numeric_limits<R>::quiet_NaN(), std::numeric_limits<R>::quiet_NaN()};
  }
  if (bi == 0 && br == std::floor(br) && std::fabs(br) < 100) {  // exact for small whole exponents
    std::complex<R> x = a, y(1, 0);
    for (int n = int(std::fabs(br)); n; n >>= 1, x = mul(x, x))
      if (n & 1) y = mul(y, x);
    return br < 0 ? div(std::complex<R>(1, 0), y) : y;
  }
  return std::pow(a, b);
}

template <class T> inline T round_even(T x) { return std::nearbyint(x); }
template <class R> inline std::complex<R> sign_complex(std::complex<R> x) {
  const R m = std::hypot(x.real(), x.imag());
  return m == 0 ? std::complex<R>(0, 0) : std::complex<R>(x.real() / m, x.imag() / m);
}
template <class R> inline std::complex<R> expm1_complex(std::complex<R> x) {
  const R half = std::sin(x.imag() / 2);
  const R e = std::expm1(x.real()), c = std::cos(x.imag());
  return {e * c - 2 * half * half, std::exp(x.real()) * std::sin(x.imag())};
}
template <class R> inline std::complex<R> log1p_complex(std::complex<R> x) {
  const R re = x.real() + 1;
  const R l = std::hypot(re, x.imag());
  return {std::log(l), std::atan2(x.imag(), re)};
}

}}  // namespace walle::matrix
#endif
