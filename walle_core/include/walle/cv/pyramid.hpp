// One step of a pyramid with the kernel 1 4 6 4 1: every second pixel, or zeros between them.
#ifndef WALLE_CV_PYRAMID_HPP
#define WALLE_CV_PYRAMID_HPP
#define WALLE_CV_PYRAMID_ROWS {"pyr_down", pyr_down}, {"pyr_up", pyr_up},

namespace walle { namespace cv { namespace {

template <class T> struct Exact { typedef float type; };  // sums of 256 values without rounding, where there are
template <> struct Exact<uint8_t> { typedef int type; };
template <> struct Exact<uint16_t> { typedef int type; };
template <> struct Exact<int16_t> { typedef int type; };
template <> struct Exact<double> { typedef double type; };
template <class T> inline T shifted(int v, int bits) { return To<T>::of((v + (1 << (bits - 1))) >> bits); }
template <class T> inline T shifted(float v, int bits) { return To<T>::of(v * (1.f / float(1 << bits))); }
template <class T> inline T shifted(double v, int bits) { return To<T>::of(v * (1. / double(1 << bits))); }

// args: border
template <class T> struct PyrDown {
  static int run(const Image& s, const Image& d, const double* args) {
    typedef typename Exact<T>::type W;
    const int border = int(args[0]);
    const int64_t n = s.w * s.c, c = s.c, right = 2 * d.w + 3;
    Scratch<W> line((right + 4) * c);
    Scratch<int64_t> from(right + 4);
    if (!line || !from) return NO_MEMORY;
    for (int64_t i = 0; i < right; ++i) from[i] = border_index(i - 2, s.w, border);
    for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
      const T* r[5];
      for (int t = 0; t < 5; ++t) r[t] = row<T>(s, border_index(2 * y - 2 + t, s.h, border));
      W* p = line.p + 2 * c;
      for (int64_t i = 0; i < n; ++i) p[i] = W(r[0][i]) + W(r[4][i]) + (W(r[1][i]) + W(r[3][i])) * 4 + W(r[2][i]) * 6;
      for (int64_t i = 0; i < right; ++i)
        if (i < 2 || i >= s.w + 2) for (int64_t k = 0; k < c; ++k) line[i * c + k] = p[from[i] * c + k];
      T* o = row<T>(d, y);
      for (int64_t x = 0; x < d.w; ++x)
        for (int64_t k = 0; k < c; ++k) {
          const W* q = line.p + 2 * x * c + k;
          o[x * c + k] = shifted<T>(q[0] + q[4 * c] + (q[c] + q[3 * c]) * 4 + q[2 * c] * 6, 8);
        }
    }
    return OK;
  }
};
// Every second pixel of a row of bytes; 16 more of both rows may be touched.
inline void every_second(const uint8_t* s, uint8_t* d, int64_t n, int64_t c) {
  if (c == 1) {
    for (int64_t x = 0; x < n; ++x) d[x] = s[2 * x];
  } else if (c == 3) {
    const Bytes16 kept = {0, 1, 2, 6, 7, 8, 12, 13, 14, 0, 0, 0, 0, 0, 0, 0};
    for (int64_t x = 0; x < n; x += 3) store16(d + 3 * x, __builtin_shuffle(load16(s + 6 * x), kept));
  } else if (c == 4) {
    for (int64_t x = 0; x < n; ++x) std::memcpy(d + 4 * x, s + 8 * x, 4);
  } else {
    for (int64_t x = 0; x < n; ++x) std::memcpy(d + x * c, s + 2 * x * c, c);
  }
}
// Bytes: 16 bits hold every sum. Whole rows are smoothed, which vectors do faster than every second pixel alone.
template <> struct PyrDown<uint8_t> {
  static int run(const Image& s, const Image& d, const double* args) {
    const int border = int(args[0]);
    const int64_t n = s.w * s.c, c = s.c, right = 2 * d.w + 3, m = (2 * d.w - 1) * c;
    Scratch<uint16_t> line((right + 4) * c);
    Scratch<uint8_t> smooth(m), half(d.w * c);
    Scratch<int64_t> from(right + 4);
    if (!line || !smooth || !half || !from) return NO_MEMORY;
    for (int64_t i = 0; i < right; ++i) from[i] = border_index(i - 2, s.w, border);
    for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
      const uint8_t* r[5];
      for (int t = 0; t < 5; ++t) r[t] = row<uint8_t>(s, border_index(2 * y - 2 + t, s.h, border));
      uint16_t *p = line.p + 2 * c, *q = line.p;
      const uint8_t *a = r[0], *b = r[1], *e = r[2], *f = r[3], *g = r[4];
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) p[i] = uint16_t(a[i] + g[i] + (b[i] + f[i]) * 4 + e[i] * 6);
      for (int64_t i = 0; i < right; ++i)
        if (i < 2 || i >= s.w + 2) for (int64_t k = 0; k < c; ++k) q[i * c + k] = p[from[i] * c + k];
      const uint16_t *q1 = q + c, *q2 = q + 2 * c, *q3 = q + 3 * c, *q4 = q + 4 * c;
      uint8_t* o = smooth.p;
#pragma GCC ivdep
      for (int64_t i = 0; i < m; ++i) o[i] = uint8_t(uint16_t(q[i] + q4[i] + (q1[i] + q3[i]) * 4 + q2[i] * 6 + 128) >> 8);
      every_second(o, half.p, d.w, c);
      std::memcpy(row<uint8_t>(d, y), half.p, d.w * c);
    }
    return OK;
  }
};
template <class T> struct PyrUp {
  static int run(const Image& s, const Image& d) {
    typedef typename Exact<T>::type W;
    const int64_t n = s.w * s.c, c = s.c;
    Scratch<W> even(n), odd(n);
    if (!even || !odd) return NO_MEMORY;
    for (int64_t y = 0; y < s.h && goes_on(s); ++y) {
      const T *above = row<T>(s, y ? y - 1 : least<int64_t>(1, s.h - 1)), *here = row<T>(s, y), *below = row<T>(s, y + 1 < s.h ? y + 1 : y);
      for (int64_t i = 0; i < n; ++i) {
        even[i] = W(above[i]) + W(here[i]) * 6 + W(below[i]);
        odd[i] = (W(here[i]) + W(below[i])) * 4;
      }
      for (int half = 0; half < 2; ++half) {
        if (2 * y + half >= d.h) continue;
        const W* p = half ? odd.p : even.p;
        T* o = row<T>(d, 2 * y + half);
        for (int64_t x = 0; x < s.w; ++x) {
          const int64_t left = x ? x - 1 : least<int64_t>(1, s.w - 1), right = x + 1 < s.w ? x + 1 : x;
          for (int64_t k = 0; k < c; ++k) {
            o[2 * x * c + k] = shifted<T>(p[left * c + k] + p[x * c + k] * 6 + p[right * c + k], 6);
            if (2 * x + 1 < d.w) o[(2 * x + 1) * c + k] = shifted<T>((p[x * c + k] + p[right * c + k]) * 4, 6);
          }
        }
      }
    }
    return OK;
  }
};
inline int pyr_down(const Image* in, int, const Image* out, const double* args) {
  switch (in[0].depth) {
    case U8: return PyrDown<uint8_t>::run(in[0], out[0], args);
    case U16: return PyrDown<uint16_t>::run(in[0], out[0], args);
    case S16: return PyrDown<int16_t>::run(in[0], out[0], args);
    case F32: return PyrDown<float>::run(in[0], out[0], args);
    case F64: return PyrDown<double>::run(in[0], out[0], args);
    default: return BAD_TYPE;
  }
}
inline int pyr_up(const Image* in, int, const Image* out, const double*) {
  switch (in[0].depth) {
    case U8: return PyrUp<uint8_t>::run(in[0], out[0]);
    case U16: return PyrUp<uint16_t>::run(in[0], out[0]);
    case S16: return PyrUp<int16_t>::run(in[0], out[0]);
    case F32: return PyrUp<float>::run(in[0], out[0]);
    case F64: return PyrUp<double>::run(in[0], out[0]);
    default: return BAD_TYPE;
  }
}
}}}  // namespace
#endif
