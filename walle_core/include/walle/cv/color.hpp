// Colour spaces. Integer types compute with OpenCV's fixed-point coefficients, float32 with the same numbers unrounded.
//
// args[0] is the place of blue among three channels (0 or 2) on the side that has colours; further args as each says.
#ifndef WALLE_CV_COLOR_HPP
#define WALLE_CV_COLOR_HPP
#include "walle/cv/planes.hpp"
#include "walle/cv/hue.hpp"
#include "walle/cv/lab.hpp"
#include "walle/cv/packed_color.hpp"

#define WALLE_CV_COLOR_ROWS                                                                          \
  {"permute", permute}, {"to_gray", to_gray}, {"to_ycc", to_ycc}, {"from_ycc", from_ycc},            \
  {"to_xyz", to_xyz}, {"from_xyz", from_xyz}, WALLE_CV_HUE_ROWS WALLE_CV_LAB_ROWS WALLE_CV_PACKED_COLOR_ROWS

namespace walle { namespace cv { namespace {

// args: for each channel of out the channel of in, or -1 for an opaque alpha
template <class T> struct Permute {
  static int run(const Image& s, const Image& d, const double* args) {
    int from[4];
    for (int k = 0; k < d.c; ++k) from[k] = int(args[k]);
    const bool swap = sizeof(T) == 1 && s.c == 3 && d.c == 3 && from[0] == 2 && from[1] == 1 && from[2] == 0;
    for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
      const T* p = row<T>(s, y);
      T* q = row<T>(d, y);
      int64_t x = 0;
      if (swap) {
        const Bytes16 order = {2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, 14, 13, 12, 15};
        for (; x + 6 <= d.w; x += 5) store16(q + 3 * x, __builtin_shuffle(load16(p + 3 * x), order));
      }
      if (d.c == 3) for (; x < d.w; ++x) {
        const T a = p[x * s.c + from[0]], b = p[x * s.c + from[1]], c = p[x * s.c + from[2]];
        q[3 * x] = a, q[3 * x + 1] = b, q[3 * x + 2] = c;
      }
      for (; x < d.w; ++x)
        for (int k = 0; k < d.c; ++k) q[x * d.c + k] = from[k] < 0 ? opaque<T>() : p[x * s.c + from[k]];
    }
    return OK;
  }
};
inline int permute(const Image* in, int, const Image* out, const double* args) {
  switch (in[0].depth) {
    case U8: return Permute<uint8_t>::run(in[0], out[0], args);
    case U16: return Permute<uint16_t>::run(in[0], out[0], args);
    case F32: return Permute<float>::run(in[0], out[0], args);
    default: return BAD_TYPE;
  }
}

template <class T> inline void gray_block(const T* b, const T* g, const T* r, T* o, int n) {
  for (int i = 0; i < n; ++i) o[i] = T((b[i] * 3735 + g[i] * 19235 + r[i] * 9798 + (1 << 14)) >> 15);
}
inline void gray_block(const float* b, const float* g, const float* r, float* o, int n) {
  for (int i = 0; i < n; ++i) o[i] = b[i] * .114f + g[i] * .587f + r[i] * .299f;
}
template <class T> struct ToGray {
  static int run(const Image& s, const Image& d, int blue) {
    T p[3][BLOCK];
    for (int64_t y = 0; y < d.h && goes_on(d); ++y)
      for (int64_t x = 0; x < d.w; x += BLOCK) {
        const int n = int(least<int64_t>(BLOCK, d.w - x));
        take_apart(row<T>(s, y) + x * s.c, s.c, p[0], p[1], p[2], n);
        gray_block(p[blue], p[1], p[2 - blue], row<T>(d, y) + x, n);
      }
    return OK;
  }
};

// Applies f(first, second, third, count) to planes of W and stores them as T.
template <class T, class W, class F> inline int by_planes(const Image& s, const Image& d, F f) {
  T p[3][BLOCK];
  W q[3][BLOCK];
  for (int64_t y = 0; y < d.h && goes_on(d); ++y)
    for (int64_t x = 0; x < d.w; x += BLOCK) {
      const int n = int(least<int64_t>(BLOCK, d.w - x));
      take_apart(row<T>(s, y) + x * s.c, s.c, p[0], p[1], p[2], n);
      for (int k = 0; k < 3; ++k) for (int i = 0; i < n; ++i) q[k][i] = W(p[k][i]);
      f(q[0], q[1], q[2], n);
      for (int k = 0; k < 3; ++k) for (int i = 0; i < n; ++i) p[k][i] = To<T>::of(q[k][i]);
      put_together(row<T>(d, y) + x * d.c, d.c, p[0], p[1], p[2], opaque<T>(), n);
    }
  return OK;
}
template <template <class> class F> inline int with_type(const Image& s, const Image& d, const double* args) {
  switch (s.depth) {
    case U8: return F<uint8_t>::run(s, d, args);
    case U16: return F<uint16_t>::run(s, d, args);
    case F32: return F<float>::run(s, d, args);
    default: return BAD_TYPE;
  }
}
inline int to_gray(const Image* in, int, const Image* out, const double* args) {
  const int blue = int(args[0]);
  switch (in[0].depth) {
    case U8: return ToGray<uint8_t>::run(in[0], out[0], blue);
    case U16: return ToGray<uint16_t>::run(in[0], out[0], blue);
    case F32: return ToGray<float>::run(in[0], out[0], blue);
    default: return BAD_TYPE;
  }
}

// A product with a coefficient: 14 bits behind the point for integers.
const int POINT = 14, HALF = 1 << (POINT - 1);
inline int fixed(double v, int point = POINT) { return int(__builtin_rint(v * (1 << point))); }

// Luma and two differences of colour. args[1]: 1 for YCrCb, 0 for YUV
template <class T> struct ToYcc {
  static int run(const Image& s, const Image& d, const double* args) {
    const int blue = int(args[0]);
    const bool crcb = args[1] != 0;
    const int cr = fixed(crcb ? .713 : .877), cb = fixed(crcb ? .564 : .492);
    const int middle = (int(opaque<T>()) / 2 + 1) * (1 << POINT) + HALF;
    return by_planes<T, int>(s, d, [=](int* a, int* b, int* c, int n) {
      for (int i = 0; i < n; ++i) {
        const int B = blue ? c[i] : a[i], R = blue ? a[i] : c[i];
        const int Y = (B * 1868 + b[i] * 9617 + R * 4899 + HALF) >> POINT;
        const int v = ((R - Y) * cr + middle) >> POINT, u = ((B - Y) * cb + middle) >> POINT;
        a[i] = Y, b[i] = crcb ? v : u, c[i] = crcb ? u : v;
      }
    });
  }
};
template <> struct ToYcc<float> {
  static int run(const Image& s, const Image& d, const double* args) {
    const int blue = int(args[0]);
    const bool crcb = args[1] != 0;
    const float cr = crcb ? .713f : .877f, cb = crcb ? .564f : .492f;
    return by_planes<float, float>(s, d, [=](float* a, float* b, float* c, int n) {
      for (int i = 0; i < n; ++i) {
        const float B = blue ? c[i] : a[i], R = blue ? a[i] : c[i], Y = B * .114f + b[i] * .587f + R * .299f;
        const float v = (R - Y) * cr + .5f, u = (B - Y) * cb + .5f;
        a[i] = Y, b[i] = crcb ? v : u, c[i] = crcb ? u : v;
      }
    });
  }
};
inline int to_ycc(const Image* in, int, const Image* out, const double* args) { return with_type<ToYcc>(in[0], out[0], args); }

template <class T> struct FromYcc {
  static int run(const Image& s, const Image& d, const double* args) {
    const int blue = int(args[0]), middle = int(opaque<T>()) / 2 + 1;
    const bool crcb = args[1] != 0;
    const int ub = crcb ? 29049 : 33292, ug = crcb ? -5636 : -6472, vg = crcb ? -11698 : -9519, vr = crcb ? 22987 : 18678;
    return by_planes<T, int>(s, d, [=](int* a, int* b, int* c, int n) {
      for (int i = 0; i < n; ++i) {
        const int u = (crcb ? c[i] : b[i]) - middle, v = (crcb ? b[i] : c[i]) - middle, Y = a[i];
        const int B = Y + ((u * ub + HALF) >> POINT), R = Y + ((v * vr + HALF) >> POINT);
        b[i] = Y + ((u * ug + v * vg + HALF) >> POINT), a[i] = blue ? R : B, c[i] = blue ? B : R;
      }
    });
  }
};
template <> struct FromYcc<float> {
  static int run(const Image& s, const Image& d, const double* args) {
    const int blue = int(args[0]);
    const bool crcb = args[1] != 0;
    const float ub = crcb ? 1.773f : 2.032f, ug = crcb ? -.344f : -.395f, vg = crcb ? -.714f : -.581f, vr = crcb ? 1.403f : 1.14f;
    return by_planes<float, float>(s, d, [=](float* a, float* b, float* c, int n) {
      for (int i = 0; i < n; ++i) {
        const float u = (crcb ? c[i] : b[i]) - .5f, v = (crcb ? b[i] : c[i]) - .5f, Y = a[i];
        const float B = Y + u * ub, R = Y + v * vr;
        b[i] = Y + u * ug + v * vg, a[i] = blue ? R : B, c[i] = blue ? B : R;
      }
    });
  }
};
inline int from_ycc(const Image* in, int, const Image* out, const double* args) { return with_type<FromYcc>(in[0], out[0], args); }

// A product with a matrix of 3 × 3 for red, green, blue; rows to X, Y, Z or back (sRGB's primaries, D65).
inline const double* xyz_matrix(bool back) {
  static const double to[9] = {.412453, .357580, .180423, .212671, .715160, .072169, .019334, .119193, .950227};
  static const double from[9] = {3.240479, -1.53715, -.498535, -.969256, 1.875991, .041556, .055648, -.204043, 1.057311};
  return back ? from : to;
}
template <class T, class W> inline int by_matrix(const Image& s, const Image& d, int blue, bool back, int point) {
  W m[9];
  for (int i = 0; i < 9; ++i) m[i] = point ? W(fixed(xyz_matrix(back)[i], point)) : W(xyz_matrix(back)[i]);
  return by_planes<T, W>(s, d, [=](W* a, W* b, W* c, int n) {
    for (int i = 0; i < n; ++i) {
      const W x = !back && !blue ? c[i] : a[i], y = b[i], z = !back && !blue ? a[i] : c[i];
      W u = m[0] * x + m[1] * y + m[2] * z, v = m[3] * x + m[4] * y + m[5] * z, w = m[6] * x + m[7] * y + m[8] * z;
      if (point) {
        const int half = 1 << (point - 1), shift = point;
        u = W((int(u) + half) >> shift), v = W((int(v) + half) >> shift), w = W((int(w) + half) >> shift);
      }
      a[i] = back && !blue ? w : u, b[i] = v, c[i] = back && !blue ? u : w;
    }
  });
}
template <class T> struct ToXyz {
  static int run(const Image& s, const Image& d, const double* args) { return by_matrix<T, int>(s, d, int(args[0]), false, 12); }
};
template <> struct ToXyz<float> {
  static int run(const Image& s, const Image& d, const double* args) { return by_matrix<float, float>(s, d, int(args[0]), false, 0); }
};
template <class T> struct FromXyz {
  static int run(const Image& s, const Image& d, const double* args) { return by_matrix<T, int>(s, d, int(args[0]), true, 12); }
};
template <> struct FromXyz<float> {
  static int run(const Image& s, const Image& d, const double* args) { return by_matrix<float, float>(s, d, int(args[0]), true, 0); }
};
inline int to_xyz(const Image* in, int, const Image* out, const double* args) { return with_type<ToXyz>(in[0], out[0], args); }
inline int from_xyz(const Image* in, int, const Image* out, const double* args) { return with_type<FromXyz>(in[0], out[0], args); }
}}}  // namespace
#endif
