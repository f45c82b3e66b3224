// Linear filters. Each row of the source is padded by its border once; rows that a kernel spans are kept in a ring.
#ifndef WALLE_CV_FILTER_HPP
#define WALLE_CV_FILTER_HPP
#include "walle/cv/rows.hpp"

#define WALLE_CV_FILTER_ROWS \
  {"separable", separable}, {"fixed_separable", fixed_separable}, {"filter", filter}, {"box", box},

namespace walle { namespace cv { namespace {

// o[i] = sum of k[t] * s[t][i], as A; then stored by `put`. N taps, or `taps` if N is 0.
template <int N, class A, class S, class O, class P>
inline void weighted_rows(const S* const* s, const A* k, int taps, O* o, int64_t n, P put) {
  if (N) {
    const S* r[N ? N : 1];
    A w[N ? N : 1];
    for (int t = 0; t < N; ++t) r[t] = s[t], w[t] = k[t];
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      A sum = w[0] * r[0][i];
      for (int t = 1; t < N; ++t) sum += w[t] * r[t][i];
      o[i] = put(sum);
    }
    return;
  }
  A sum[256];
  for (int64_t x = 0; x < n; x += 256) {
    const int m = int(least<int64_t>(256, n - x));
    for (int i = 0; i < m; ++i) sum[i] = 0;
    for (int t = 0; t < taps; ++t)
      for (int i = 0; i < m; ++i) sum[i] += k[t] * s[t][x + i];
    for (int i = 0; i < m; ++i) o[x + i] = put(sum[i]);
  }
}
template <class A, class S, class O, class P>
inline void weighted_sum(const S* const* s, const A* k, int taps, O* o, int64_t n, P put) {
  switch (taps) {
    case 1: return weighted_rows<1, A>(s, k, taps, o, n, put);
    case 2: return weighted_rows<2, A>(s, k, taps, o, n, put);
    case 3: return weighted_rows<3, A>(s, k, taps, o, n, put);
    case 4: return weighted_rows<4, A>(s, k, taps, o, n, put);
    case 5: return weighted_rows<5, A>(s, k, taps, o, n, put);
    case 7: return weighted_rows<7, A>(s, k, taps, o, n, put);
    case 8: return weighted_rows<8, A>(s, k, taps, o, n, put);
    case 11: return weighted_rows<11, A>(s, k, taps, o, n, put);
    default: return weighted_rows<0, A>(s, k, taps, o, n, put);
  }
}

// S source, M rows between the passes, A sums of the second pass; `mid` and `put` store sums of the first and second.
template <class S, class H, class M, class A, class D, class Mid, class Put>
inline int two_passes(const Image& s, const Image& d, const H* kx, int nx, const A* ky, int ny, int ax, int ay, int border, Mid mid, Put put) {
  PaddedRow<S> pad(s, nx, ax, border, S(0));
  const int64_t n = s.w * s.c;
  Scratch<M> ring((n + 32) * ny);
  Scratch<const M*> rows(ny);
  Scratch<const S*> shifts(nx);
  Scratch<D> done(n);
  if (!pad || !ring || !rows || !shifts || !done) return NO_MEMORY;
  for (int64_t y = -ay, next = 0; next < d.h && goes_on(d); ++y) {
    M* to = ring.p + ((y + ay) % ny) * (n + 32);
    const S* from = pad.of(y);
    if (from) {
      for (int t = 0; t < nx; ++t) shifts[t] = from + t * s.c;
      weighted_sum(shifts.p, kx, nx, to, n, mid);
    } else {
      std::memset(to, 0, n * sizeof(M));
    }
    if (y + ay < ny - 1) continue;
    for (int t = 0; t < ny; ++t) rows[t] = ring.p + ((next + t) % ny) * (n + 32);
    if (sizeof(D) == 1 || (sizeof(D) == 2 && d.depth == S16)) {
      weighted_sum(rows.p, ky, ny, row<D>(d, next), n, put);
    } else {
      weighted_sum(rows.p, ky, ny, done.p, n, put);
      store(d.depth, done.p, row<char>(d, next), n);
    }
    ++next;
  }
  return OK;
}

template <class T> struct SameValue { T operator()(T v) const { return v; } };
template <class W> struct Plus {
  W delta;
  W operator()(W v) const { return W(v + delta); }
};
template <class W> inline bool numbers_of(const Image& m, Scratch<W>& to) {
  if (!to) return false;
  for (int64_t i = 0; i < m.h * m.w; ++i) to[i] = W(number(m, i / m.w, i % m.w));
  return true;
}

// in: image, horizontal and vertical kernel (1 × n float64). args: anchor x, y, border, delta
template <class W> inline int separable_as(const Image* in, const Image& d, const double* args) {
  Scratch<W> kx(in[1].w), ky(in[2].w);
  if (!numbers_of(in[1], kx) || !numbers_of(in[2], ky)) return NO_MEMORY;
  return two_passes<W, W, W, W, W>(in[0], d, kx.p, int(in[1].w), ky.p, int(in[2].w), int(args[0]), int(args[1]), int(args[2]),
                                   SameValue<W>(), Plus<W>{W(args[3])});
}
// Bytes with kernels of whole numbers whose sums stay within 16 bits, as derivatives have: exact, and half as wide.
inline bool in_16_bits(const Image* in, const double* args) {
  if (in[0].depth != U8 || args[3] != __builtin_floor(args[3])) return false;
  double sum[2] = {0, 0};
  for (int k = 0; k < 2; ++k)
    for (int64_t i = 0; i < in[1 + k].w; ++i) {
      const double v = number(in[1 + k], 0, i);
      if (v != __builtin_floor(v)) return false;
      sum[k] += v < 0 ? -v : v;
    }
  return 255 * sum[0] < 32768 && 255 * sum[0] * sum[1] + (args[3] < 0 ? -args[3] : args[3]) < 32768;
}
inline int separable_in_16_bits(const Image* in, const Image& d, const double* args) {
  Scratch<int16_t> kx(in[1].w), ky(in[2].w);
  if (!numbers_of(in[1], kx) || !numbers_of(in[2], ky)) return NO_MEMORY;
  return two_passes<uint8_t, int16_t, int16_t, int16_t, int16_t>(in[0], d, kx.p, int(in[1].w), ky.p, int(in[2].w), int(args[0]), int(args[1]),
                                                                 int(args[2]), SameValue<int16_t>(), Plus<int16_t>{int16_t(args[3])});
}
inline int separable(const Image* in, int, const Image* out, const double* args) {
  if (in_16_bits(in, args)) return separable_in_16_bits(in, out[0], args);
  return needs_double(in[0], out[0]) ? separable_as<double>(in, out[0], args) : separable_as<float>(in, out[0], args);
}

// Bytes with kernels whose numbers are 256ths and add up to 256: exact sums in 16 and 32 bits, rounded once.
struct RoundedByte {
  uint8_t operator()(uint32_t v) const { return uint8_t((v + (1u << 15)) >> 16); }
};
inline int fixed_separable(const Image* in, int, const Image* out, const double* args) {
  if (in[0].depth != U8) return BAD_TYPE;
  Scratch<uint16_t> kx(in[1].w);
  Scratch<uint32_t> ky(in[2].w);
  if (!numbers_of(in[1], kx) || !numbers_of(in[2], ky)) return NO_MEMORY;
  return two_passes<uint8_t, uint16_t, uint16_t, uint32_t, uint8_t>(in[0], out[0], kx.p, int(in[1].w), ky.p, int(in[2].w), int(args[0]),
                                                                   int(args[1]), int(args[2]), SameValue<uint16_t>(), RoundedByte());
}

// in: image, kernel (float64). args: anchor x, y, border, delta
template <class W> inline int filter_as(const Image* in, const Image& d, const double* args) {
  const Image &s = in[0], &k = in[1];
  const int64_t taps = k.h * k.w, n = s.w * s.c;
  const int ax = int(args[0]), ay = int(args[1]);
  Scratch<W> w(taps), done(n);
  Scratch<const W*> shifts(taps);
  PaddedRing<W> ring(s, int(k.w), ax, int(k.h), int(args[2]), W(0));
  if (!w || !done || !shifts || !ring) return NO_MEMORY;
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
    int used = 0;
    for (int64_t ky = 0; ky < k.h; ++ky) {
      const W* from = ring.of(y - ay + ky);
      for (int64_t kx = 0; kx < k.w; ++kx)
        if (number(k, ky, kx) != 0) w[used] = W(number(k, ky, kx)), shifts[used++] = from + kx * s.c;
    }
    weighted_rows<0, W>(shifts.p, w.p, used, done.p, n, Plus<W>{W(args[3])});
    store(d.depth, done.p, row<char>(d, y), n);
  }
  return OK;
}
inline int filter(const Image* in, int, const Image* out, const double* args) {
  return needs_double(in[0], out[0]) ? filter_as<double>(in, out[0], args) : filter_as<float>(in, out[0], args);
}

// Sums over windows, of integers without rounding: elements are read as S, summed as A, scaled as W.
// args: width, height, anchor x, y, border, factor, whether of squares
template <class S, class A, class W> inline int box_as(const Image& s, const Image& d, const double* args) {
  const int kw = int(args[0]), kh = int(args[1]), ax = int(args[2]), ay = int(args[3]);
  const W factor = W(args[5]);
  const int64_t n = s.w * s.c, c = s.c;
  PaddedRow<S> pad(s, kw, ax, int(args[4]), S(0));
  Scratch<A> ring((n + 32) * kh), total(n);
  Scratch<W> done(n);
  if (!pad || !ring || !total || !done) return NO_MEMORY;
  for (int64_t i = 0; i < n; ++i) total[i] = 0;
  for (int64_t y = -ay; y < d.h - ay + kh - 1 && goes_on(d); ++y) {
    A* to = ring.p + ((y + ay) % kh) * (n + 32);
    A* sum = total.p;
    if (y + ay >= kh) for (int64_t i = 0; i < n; ++i) sum[i] = A(sum[i] - to[i]);
    if (!pad.of(y)) {
      for (int64_t i = 0; i < n; ++i) to[i] = 0;
    } else {
      S* p = pad.data.p;
      if (args[6] != 0) for (int64_t i = 0; i < (s.w + kw - 1) * c; ++i) p[i] = S(p[i] * p[i]);
      if (kw <= 16) {
        for (int64_t i = 0; i < n; ++i) to[i] = p[i];
        for (int t = 1; t < kw; ++t) {
          const S* q = p + t * c;
#pragma GCC ivdep
          for (int64_t i = 0; i < n; ++i) to[i] = A(to[i] + q[i]);
        }
      } else {
        for (int64_t i = 0; i < c; ++i) { to[i] = 0; for (int t = 0; t < kw; ++t) to[i] = A(to[i] + p[i + t * c]); }
        for (int64_t i = c; i < n; ++i) to[i] = A(to[i - c] + p[i + (kw - 1) * c] - p[i - c]);
      }
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) sum[i] = A(sum[i] + to[i]);
    if (y + ay < kh - 1) continue;
    for (int64_t i = 0; i < n; ++i) done[i] = W(sum[i]) * factor;
    store(d.depth, done.p, row<char>(d, y + ay - kh + 1), n);
  }
  return OK;
}
inline int box(const Image* in, int, const Image* out, const double* args) {
  const double greatest = in[0].depth <= S8 ? 255 : in[0].depth <= S16 ? 65535 : 1e9, area = args[0] * args[1];
  if (in[0].depth == U8 && area <= 257 && args[6] == 0) return box_as<uint8_t, uint16_t, float>(in[0], out[0], args);
  const bool exact = area * greatest * (args[6] != 0 ? greatest : 1) < (1 << 24) && out[0].depth != F64;
  return exact ? box_as<float, float, float>(in[0], out[0], args) : box_as<double, double, double>(in[0], out[0], args);
}
}}}  // namespace
#endif
