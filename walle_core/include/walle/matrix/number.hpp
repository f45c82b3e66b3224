// Numbers of the matrix algorithms: double, and complex numbers of two parts whose product is the plain formula.
#ifndef WALLE_MATRIX_NUMBER_HPP
#define WALLE_MATRIX_NUMBER_HPP
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace walle { namespace matrix { namespace {

template <class T>
struct Complex {  // the memory layout of complex64 and complex128
  T re, im;
  Complex() = default;
  constexpr Complex(T r, T i = 0) : re(r), im(i) {}
  Complex operator-() const { return {-re, -im}; }
  Complex operator+(Complex o) const { return {re + o.re, im + o.im}; }
  Complex operator-(Complex o) const { return {re - o.re, im - o.im}; }
  Complex operator*(Complex o) const { return {re * o.re - im * o.im, re * o.im + im * o.re}; }
  Complex operator*(T o) const { return {re * o, im * o}; }
  Complex operator/(T o) const { return {re / o, im / o}; }
  Complex operator/(Complex o) const {  // Smith: no overflow in between
    if (std::fabs(o.re) >= std::fabs(o.im)) {
      const T r = o.im / o.re, d = o.re + o.im * r;
      return {(re + im * r) / d, (im - re * r) / d};
    }
    const T r = o.re / o.im, d = o.re * r + o.im;
    return {(re * r + im) / d, (im * r - re) / d};
  }
  Complex& operator+=(Complex o) { return *this = *this + o; }
  Complex& operator-=(Complex o) { return *this = *this - o; }
  Complex& operator*=(Complex o) { return *this = *this * o; }
  Complex& operator*=(T o) { return *this = *this * o; }
  Complex& operator/=(T o) { return *this = *this / o; }
  bool operator==(Complex o) const { return re == o.re && im == o.im; }
};
using Z = Complex<double>;

inline double conj(double x) { return x; }
inline Z conj(Z x) { return {x.re, -x.im}; }
inline double real(double x) { return x; }
inline double real(Z x) { return x.re; }
inline double imag(double) { return 0.0; }
inline double imag(Z x) { return x.im; }
inline double magnitude(double x) { return std::fabs(x); }
inline double magnitude(Z x) { return std::hypot(x.re, x.im); }
inline double largest(double x) { return std::fabs(x); }  // within a factor of sqrt(2) of the magnitude, without a root
inline double largest(Z x) { return std::fmax(std::fabs(x.re), std::fabs(x.im)); }
inline double square(double x) { return x * x; }
inline double square(Z x) { return x.re * x.re + x.im * x.im; }
inline void set_parts(double& x, double re, double) { x = re; }
inline void set_parts(Z& x, double re, double im) { x = {re, im}; }
inline bool finite(double x) { return std::isfinite(x); }
inline bool finite(Z x) { return std::isfinite(x.re) && std::isfinite(x.im); }

template <class T>
struct Room : std::vector<T> {  // counted and indexed by int64_t
  explicit Room(int64_t n = 0, T fill = T()) : std::vector<T>(size_t(n), fill) {}
  T& operator[](int64_t i) { return this->data()[i]; }
};

// y -= f * x
template <class T>
inline void subtract_scaled(T* y, const T* x, T f, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] -= f * x[i];
}

template <class T>
inline void scale(T* x, T f, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = x[i] * f;
}

// sum of conj(x[i]) * y[i], in four chains
template <class T>
inline T inner(const T* x, const T* y, int64_t n) {
  T s0 = T(0), s1 = T(0), s2 = T(0), s3 = T(0);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    s0 += conj(x[i]) * y[i], s1 += conj(x[i + 1]) * y[i + 1];
    s2 += conj(x[i + 2]) * y[i + 2], s3 += conj(x[i + 3]) * y[i + 3];
  }
  for (; i < n; ++i) s0 += conj(x[i]) * y[i];
  return (s0 + s1) + (s2 + s3);
}

// The largest part in a; not finite if one of them is not.
template <class T>
inline double largest_of(const T* a, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!finite(a[i])) return std::numeric_limits<double>::quiet_NaN();
    most = std::fmax(most, largest(a[i]));
  }
  return most;
}

// A power of two that brings `most` into [0.5, 1); 1 for zero. Multiplying with it rounds nothing but subnormals.
inline double scale_for(double most) {
  if (!(most > 0)) return 1.0;
  int exponent;
  std::frexp(most, &exponent);
  if (exponent < -1020) exponent = -1020;
  if (exponent > 1022) exponent = 1022;
  return std::ldexp(1.0, -exponent);
}

}}}  // namespace walle::matrix::(anonymous)
#endif
