// Discrete Fourier transforms of any length: Stockham's self-sorting passes of radix 4, 2, 3, 5 and small primes, and
// Bluestein's convolution for the rest (Van Loan, Computational Frameworks for the FFT, 1.7, 4.2.3). Double or float.
#ifndef WALLE_MATRIX_FFT_HPP
#define WALLE_MATRIX_FFT_HPP
#include <algorithm>
#include <list>
#include <memory>
#include <mutex>
#include "walle/matrix/number.hpp"
#include "walle/stop.hpp"

namespace walle { namespace matrix { namespace {

// exp(-2 pi i k / n), with the angle folded into an eighth of the circle
inline Z root_of_unity(int64_t k, int64_t n) {
  constexpr double pi = 3.141592653589793238462643383279502884;
  int64_t x = 8 * (k % n);
  const int64_t octant = x / n;
  x -= octant * n;  // angle = (octant + x / n) pi / 4
  const bool odd = octant & 1;
  const double angle = double(odd ? n - x : x) * (pi / 4) / double(n);
  double c = std::cos(angle), s = std::sin(angle);
  if (((octant + 1) >> 1) & 1) std::swap(c, s);
  if (octant >= 2 && octant < 6) c = -c;
  if (octant >= 4) s = -s;
  return {c, -s};
}

template <class R>
class Fft {
 public:
  using C = Complex<R>;

  explicit Fft(int64_t n) : n_(n) {
    int64_t left = n;
    while (left % 4 == 0) factors_.push_back(4), left /= 4;
    for (int64_t p = 2; left > 1 && p <= kLargest; ++p)
      while (left % p == 0) factors_.push_back(p), left /= p;
    if (left > 1) {
      bluestein();
      return;
    }
    int64_t total = 0;
    for (int64_t r : factors_) total += r;
    roots_.reserve(size_t(2 * n + total));
    int64_t m = n;
    for (int64_t r : factors_) {
      const int64_t rest = m / r;
      walle_stop_watch watch;
      for (int64_t p = 0; p < rest; ++p, watch.work(r))
        for (int64_t q = 1; q < r; ++q) roots_.push_back(rounded(root_of_unity(p * q, m)));
      if (r > 5)
        for (int64_t q = 0; q < r; ++q) roots_.push_back(rounded(root_of_unity(q, r)));
      m = rest;
    }
  }

  int64_t size() const { return n_; }
  int64_t scratch() const { return inner_ ? 2 * inner_->n_ : n_; }

  // In place, forward, not scaled; scratch() elements at `work`.
  void run(C* x, C* work) const {
    if (inner_) return convolve(x, work);
    C *from = x, *to = work;
    const C* w = roots_.data();
    int64_t m = n_, s = 1;
    for (int64_t r : factors_) {
      if (n_ >= 1 << 16) walle_stop_point();
      const int64_t rest = m / r;
      switch (r) {
        case 2: radix2(from, to, w, rest, s); break;
        case 3: radix3(from, to, w, rest, s); break;
        case 4: radix4(from, to, w, rest, s); break;
        case 5: radix5(from, to, w, rest, s); break;
        default: radix(from, to, w, w + rest * (r - 1), r, rest, s); w += r;
      }
      w += rest * (r - 1);
      std::swap(from, to);
      m = rest, s *= r;
    }
    if (from != x) std::copy(from, from + n_, x);
  }

 private:
  static constexpr int64_t kLargest = 13;
  int64_t n_;
  std::vector<int64_t> factors_;
  std::vector<C> roots_;        // per pass: rest * (r - 1) twiddles, then for r > 5 the r roots
  std::unique_ptr<Fft> inner_;  // of the convolution's length
  std::vector<C> chirp_, kernel_;

  static C rounded(Z z) { return {R(z.re), R(z.im)}; }
  static C minus_i(C z) { return {z.im, -z.re}; }

  // A pass reads from[q + s (p + rest t)] and writes to[q + s (r p + t)], t < r, p < rest, q < s.
  static void radix2(const C* from, C* to, const C* w, int64_t rest, int64_t s) {
    for (int64_t p = 0; p < rest; ++p) {
      const C *a = from + s * p, *b = a + s * rest;
      C *x = to + s * 2 * p, *y = x + s;
      const C f = w[p];
      for (int64_t q = 0; q < s; ++q) {
        const C u = a[q], v = b[q];
        x[q] = u + v;
        y[q] = (u - v) * f;
      }
    }
  }

  static void radix4(const C* from, C* to, const C* w, int64_t rest, int64_t s) {
    for (int64_t p = 0; p < rest; ++p, w += 3) {
      const C *a = from + s * p, *b = a + s * rest, *c = b + s * rest, *d = c + s * rest;
      C *x = to + s * 4 * p, *y = x + s, *z = y + s, *t = z + s;
      const C f = w[0], g = w[1], h = w[2];
      for (int64_t q = 0; q < s; ++q) {
        const C ac = a[q] + c[q], ad = a[q] - c[q], bd = b[q] + d[q], bs = minus_i(b[q] - d[q]);
        x[q] = ac + bd;
        y[q] = (ad + bs) * f;
        z[q] = (ac - bd) * g;
        t[q] = (ad - bs) * h;
      }
    }
  }

  static void radix3(const C* from, C* to, const C* w, int64_t rest, int64_t s) {
    constexpr R sine = R(0.866025403784438646763723170752936183L);
    for (int64_t p = 0; p < rest; ++p, w += 2) {
      const C *a = from + s * p, *b = a + s * rest, *c = b + s * rest;
      C *x = to + s * 3 * p, *y = x + s, *z = y + s;
      const C f = w[0], g = w[1];
      for (int64_t q = 0; q < s; ++q) {
        const C sum = b[q] + c[q], turn = minus_i(b[q] - c[q]) * sine, mid = a[q] - sum * R(0.5);
        x[q] = a[q] + sum;
        y[q] = (mid + turn) * f;
        z[q] = (mid - turn) * g;
      }
    }
  }

  static void radix5(const C* from, C* to, const C* w, int64_t rest, int64_t s) {
    constexpr R c1 = R(0.309016994374947424102293417182819059L), c2 = R(-0.809016994374947424102293417182819059L);
    constexpr R s1 = R(0.951056516295153572116439333379382143L), s2 = R(0.587785252292473129168705954639072769L);
    for (int64_t p = 0; p < rest; ++p, w += 4) {
      const C *a = from + s * p, *b = a + s * rest, *c = b + s * rest, *d = c + s * rest, *e = d + s * rest;
      C* x = to + s * 5 * p;
      for (int64_t q = 0; q < s; ++q) {
        const C be = b[q] + e[q], cd = c[q] + d[q], bs = minus_i(b[q] - e[q]), cs = minus_i(c[q] - d[q]);
        const C m1 = a[q] + be * c1 + cd * c2, m2 = a[q] + be * c2 + cd * c1;
        const C t1 = bs * s1 + cs * s2, t2 = bs * s2 - cs * s1;
        x[q] = a[q] + be + cd;
        x[q + s] = (m1 + t1) * w[0];
        x[q + 2 * s] = (m2 + t2) * w[1];
        x[q + 3 * s] = (m2 - t2) * w[2];
        x[q + 4 * s] = (m1 - t1) * w[3];
      }
    }
  }

  static void radix(const C* from, C* to, const C* w, const C* root, int64_t r, int64_t rest, int64_t s) {
    for (int64_t p = 0; p < rest; ++p, w += r - 1) {
      const C* a = from + s * p;
      C* x = to + s * r * p;
      for (int64_t q = 0; q < s; ++q) {
        for (int64_t k = 0; k < r; ++k) {
          C sum = a[q];
          for (int64_t t = 1, at = k; t < r; ++t, at = at + k < r ? at + k : at + k - r)
            sum += a[q + s * rest * t] * root[at];
          x[q + s * k] = k ? sum * w[k - 1] : sum;
        }
      }
    }
  }

  void bluestein() {
    factors_.clear();
    int64_t m = 1;
    while (m < 2 * n_ - 1) m *= 2;
    inner_.reset(new Fft(m));
    chirp_.resize(size_t(n_));
    kernel_.assign(size_t(m), C(0));
    walle_stop_watch watch;
    for (int64_t k = 0, at = 0; k < n_; ++k, watch.work(1)) {  // at = k^2 mod 2n
      const Z root = root_of_unity(at, 2 * n_);
      chirp_[size_t(k)] = rounded(root);
      const C back = rounded({root.re / double(m), -root.im / double(m)});
      kernel_[size_t(k)] = back;
      if (k) kernel_[size_t(m - k)] = back;
      at = (at + 2 * k + 1) % (2 * n_);
    }
    std::vector<C> work((size_t(m)));
    inner_->run(kernel_.data(), work.data());
  }

  void convolve(C* x, C* work) const {
    const int64_t m = inner_->n_;
    C *y = work, *more = work + m;
    for (int64_t k = 0; k < n_; ++k) y[k] = x[k] * chirp_[size_t(k)];
    std::fill(y + n_, y + m, C(0));
    inner_->run(y, more);
    for (int64_t k = 0; k < m; ++k) {  // conjugated: a forward transform then is the inverse one
      const C z = y[k] * kernel_[size_t(k)];
      y[k] = {z.re, -z.im};
    }
    inner_->run(y, more);
    for (int64_t k = 0; k < n_; ++k) x[k] = C(y[k].re, -y[k].im) * chirp_[size_t(k)];
  }
};

// A transform of real numbers: of half the length where that is even, with the factors that part its result.
template <class R>
class RealFft {
 public:
  const Fft<R> inner;
  std::vector<Complex<R>> turns;  // exp(-2 pi i k / n), k <= n/2; empty where n is odd

  explicit RealFft(int64_t n) : inner(n % 2 == 0 ? n / 2 : n), n_(n) {
    walle_stop_watch watch;
    for (int64_t k = 0; n % 2 == 0 && k <= n / 2; ++k, watch.work(1)) {
      const Z w = root_of_unity(k, n);
      turns.push_back({R(w.re), R(w.im)});
    }
  }
  int64_t size() const { return n_; }

 private:
  int64_t n_;
};

// The plan for a length; the last sixteen are kept for the whole process.
template <class Plan>
std::shared_ptr<const Plan> fft_plan(int64_t n) {
  static std::mutex guard;
  static std::list<std::shared_ptr<const Plan>> plans;
  {
    std::lock_guard<std::mutex> lock(guard);
    for (auto it = plans.begin(); it != plans.end(); ++it)
      if ((*it)->size() == n) {
        plans.splice(plans.begin(), plans, it);
        return plans.front();
      }
  }
  auto made = std::make_shared<const Plan>(n);
  std::lock_guard<std::mutex> lock(guard);
  plans.push_front(made);
  if (plans.size() > 16) plans.pop_back();
  return made;
}

}}}  // namespace walle::matrix::(anonymous)
#endif
