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
    for (int64_t y = 0; y < d.h; ++y) {
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
template <class T> struct PyrUp {
  static int run(const Image& s, const Image& d) {
    typedef typename Exact<T>::type W;
    const int64_t n = s.w * s.c, c = s.c;
    Scratch<W> even(n), odd(n);
    if (!even || !odd) return NO_MEMORY;
    for (int64_t y = 0; y < s.h; ++y) {
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
