// Fourier transforms of many lines, along one axis of an array.
#ifndef WALLE_MATRIX_FFT_AXIS_HPP
#define WALLE_MATRIX_FFT_AXIS_HPP
#include "walle/matrix/fft.hpp"

namespace walle { namespace matrix { namespace {

// Transforms along the middle axis: in [outer][length][inner] -> out [outer][n][inner], cut or padded with zeros to n,
// times `factor`. Inverse: conj(F(conj x)).
template <class R>
void fft_axis(const Complex<R>* in, Complex<R>* out, int64_t outer, int64_t length, int64_t n, int64_t inner,
              bool inverse, double factor) {
  using C = Complex<R>;
  const auto plan = fft_plan<Fft<R>>(n);
  const int64_t take = length < n ? length : n, together = inner < 8 ? inner : 8;
  const R f = R(factor), g = inverse ? -f : f;
  walle_stop_watch watch;
  Room<C> work(plan->scratch()), lines(inner == 1 ? 0 : together * n);
  for (int64_t o = 0; o < outer; ++o) {
    const C* a = in + o * length * inner;
    C* b = out + o * n * inner;
    for (int64_t i0 = 0; i0 < inner; i0 += together) {
      const int64_t count = inner - i0 < together ? inner - i0 : together;
      C* x = inner == 1 ? b : lines.data();
      for (int64_t k = 0; k < take; ++k)
        for (int64_t i = 0; i < count; ++i) {
          const C z = a[k * inner + i0 + i];
          x[i * n + k] = {z.re, inverse ? -z.im : z.im};
        }
      for (int64_t i = 0; i < count; ++i) {
        std::fill(x + i * n + take, x + (i + 1) * n, C(0));
        plan->run(x + i * n, work.data());
        watch.work(n);
      }
      if (inner == 1 && !inverse && f == 1) continue;
      for (int64_t k = 0; k < n; ++k)
        for (int64_t i = 0; i < count; ++i) {
          const C z = x[i * n + k];
          b[k * inner + i0 + i] = {z.re * f, z.im * g};
        }
    }
  }
}

// Real input along the middle axis: in [outer][length][inner] -> out [outer][n/2 + 1][inner]. An even n goes through
// a complex transform of half the length.
template <class R>
void rfft_axis(const R* in, Complex<R>* out, int64_t outer, int64_t length, int64_t n, int64_t inner, bool conjugate,
               double factor) {
  using C = Complex<R>;
  const bool even = n % 2 == 0;
  const int64_t half = n / 2, bins = half + 1, m = even ? half : n, take = length < n ? length : n;
  const auto plan = fft_plan<RealFft<R>>(n);
  const Complex<R>* turns = plan->turns.data();
  const R f = R(factor), sign = conjugate ? -f : f;
  walle_stop_watch watch;
  Room<C> work(plan->inner.scratch()), line(m);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i, watch.work(n)) {
      const R* a = in + o * length * inner + i;
      C* b = out + o * bins * inner + i;
      std::fill(line.begin(), line.end(), C(0));
      if (even) {
        R* flat = reinterpret_cast<R*>(line.data());
        for (int64_t k = 0; k < take; ++k) flat[k] = a[k * inner];
      } else {
        for (int64_t k = 0; k < take; ++k) line[k] = C(a[k * inner]);
      }
      plan->inner.run(line.data(), work.data());
      for (int64_t k = 0; k < bins; ++k) {
        C z = line[k < m ? k : 0];
        if (even) {
          const C mirror = line[k == 0 || k == half ? 0 : half - k];
          const C back = {mirror.re, -mirror.im}, sum = (z + back) * R(0.5), odd = (z - back) * R(0.5);
          z = sum + C(odd.im, -odd.re) * turns[k];
        }
        b[k * inner] = {z.re * f, z.im * sign};
      }
    }
}

// The inverse: in [outer][length][inner] complex, of which n/2 + 1 bins are taken -> out [outer][n][inner] real.
template <class R>
void irfft_axis(const Complex<R>* in, R* out, int64_t outer, int64_t length, int64_t n, int64_t inner, bool conjugate,
                double factor) {
  using C = Complex<R>;
  const bool even = n % 2 == 0;
  const int64_t half = n / 2, bins = half + 1, m = even ? half : n;
  const auto plan = fft_plan<RealFft<R>>(n);
  const Complex<R>* turns = plan->turns.data();
  const R f = R(factor);
  walle_stop_watch watch;
  Room<C> work(plan->inner.scratch()), line(m), x(bins);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i, watch.work(n)) {
      const C* a = in + o * length * inner + i;
      R* b = out + o * n * inner + i;
      for (int64_t k = 0; k < bins; ++k) {
        x[k] = k < length ? a[k * inner] : C(0);
        if (conjugate) x[k].im = -x[k].im;
      }
      x[0].im = 0;
      if (even) {
        x[half].im = 0;
        for (int64_t k = 0; k < half; ++k) {  // conjugated, for a forward transform
          const C back = {x[half - k].re, -x[half - k].im};
          const C odd = (x[k] - back) * C(turns[k].re, -turns[k].im), z = x[k] + back + C(-odd.im, odd.re);
          line[k] = {z.re, -z.im};
        }
        plan->inner.run(line.data(), work.data());
        for (int64_t k = 0; k < half; ++k) {
          b[2 * k * inner] = line[k].re * f;
          b[(2 * k + 1) * inner] = -line[k].im * f;
        }
      } else {
        line[0] = {x[0].re, 0};
        for (int64_t k = 1; k < bins; ++k) line[k] = {x[k].re, -x[k].im}, line[n - k] = x[k];
        plan->inner.run(line.data(), work.data());
        for (int64_t k = 0; k < n; ++k) b[k * inner] = line[k].re * f;
      }
    }
}

}}}  // namespace walle::matrix::(anonymous)
#endif
