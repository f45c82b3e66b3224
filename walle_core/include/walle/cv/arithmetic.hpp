// Pixel by pixel: scaling, blending, bits, thresholds; sums over images.
#ifndef WALLE_CV_ARITHMETIC_HPP
#define WALLE_CV_ARITHMETIC_HPP

#define WALLE_CV_ARITHMETIC_ROWS                                                                      \
  {"scale", scale}, {"weighted", weighted}, {"bits", bits}, {"threshold", threshold},                 \
  {"adaptive", adaptive}, {"blend", blend}, {"measure", measure}, {"sums", sums},             \
  {"count", count_bytes},

namespace walle { namespace cv { namespace {

// What a type's arithmetic is done in.
template <class T> struct Wide { typedef float type; };
template <> struct Wide<int32_t> { typedef double type; };
template <> struct Wide<double> { typedef double type; };

// Blocks of in[0], and of in[1] if there are two, through f(first, second, count), which changes the first, into out.
template <class W, class F> inline int by_blocks(const Image* in, bool two, const Image& d, F f) {
  W a[BLOCK], b[BLOCK];
  const int64_t n = d.w * d.c, from = size_of(in[0].depth), to = size_of(d.depth);
  for (int64_t y = 0; y < d.h && goes_on(d); ++y)
    for (int64_t x = 0; x < n; x += BLOCK) {
      const int m = int(least<int64_t>(BLOCK, n - x));
      fetch<W>(in[0].depth, row<char>(in[0], y) + x * from, a, m);
      if (two) fetch<W>(in[1].depth, row<char>(in[1], y) + x * from, b, m);
      f(a, b, m);
      store(d.depth, a, row<char>(d, y) + x * to, m);
    }
  return OK;
}

// out = saturated(args[0] * in + args[1]), absolute before it is stored if args[2]
template <class W> inline int scale_as(const Image* in, const Image& d, const double* args) {
  const W k = W(args[0]), plus = W(args[1]);
  if (args[2] != 0) return by_blocks<W>(in, false, d, [=](W* a, W*, int n) { for (int i = 0; i < n; ++i) { W v = a[i] * k + plus; a[i] = v < 0 ? -v : v; } });
  return by_blocks<W>(in, false, d, [=](W* a, W*, int n) { for (int i = 0; i < n; ++i) a[i] = a[i] * k + plus; });
}
inline int scale(const Image* in, int, const Image* out, const double* args) {
  return needs_double(in[0], out[0]) ? scale_as<double>(in, out[0], args) : scale_as<float>(in, out[0], args);
}

// out = in[0]*args[0] + in[1]*args[1] + args[2]
template <class W> inline int weighted_as(const Image* in, const Image& d, const double* args) {
  const W k = W(args[0]), l = W(args[1]), plus = W(args[2]);
  return by_blocks<W>(in, true, d, [=](W* a, W* b, int n) { for (int i = 0; i < n; ++i) a[i] = a[i] * k + b[i] * l + plus; });
}
inline int weighted(const Image* in, int, const Image* out, const double* args) {
  return needs_double(in[0], out[0]) ? weighted_as<double>(in, out[0], args) : weighted_as<float>(in, out[0], args);
}

// args[0]: 0 and, 1 or, 2 xor, 3 not; on the elements' bytes
inline int bits(const Image* in, int, const Image* out, const double* args) {
  const int op = int(args[0]);
  const int64_t n = out[0].w * out[0].c * size_of(out[0].depth);
  for (int64_t y = 0; y < out[0].h && goes_on(out[0]); ++y) {
    const uint8_t *p = row<uint8_t>(in[0], y), *q = op == 3 ? p : row<uint8_t>(in[1], y);
    uint8_t* d = row<uint8_t>(out[0], y);
    if (op == 0) for (int64_t i = 0; i < n; ++i) d[i] = p[i] & q[i];
    else if (op == 1) for (int64_t i = 0; i < n; ++i) d[i] = p[i] | q[i];
    else if (op == 2) for (int64_t i = 0; i < n; ++i) d[i] = p[i] ^ q[i];
    else for (int64_t i = 0; i < n; ++i) d[i] = uint8_t(~p[i]);
  }
  return OK;
}

// args: threshold, value, type (of OpenCV: 0 binary, 1 its inverse, 2 truncate, 3 to zero, 4 its inverse)
template <class T> struct Threshold {
  static int run(const Image& s, const Image& d, const double* args) {
    typedef typename Wide<T>::type W;
    const int type = int(args[2]);
    const W limit = W(args[0]);
    const T value = To<T>::of(args[1]), edge = To<T>::of(args[0]);
    if (sizeof(T) < 4 && W(edge) == limit) return compared(s, d, edge, value, type, edge);
    return compared(s, d, limit, value, type, edge);
  }
  // L is T where the bound is a value of it: comparisons of narrow integers.
  template <class L> static int compared(const Image& s, const Image& d, L limit, T value, int type, T edge) {
    for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
      const T* p = row<T>(s, y);
      T* q = row<T>(d, y);
      const int64_t n = d.w * d.c;
      if (type == 0) for (int64_t i = 0; i < n; ++i) q[i] = p[i] > limit ? value : T(0);
      else if (type == 1) for (int64_t i = 0; i < n; ++i) q[i] = p[i] > limit ? T(0) : value;
      else if (type == 2) for (int64_t i = 0; i < n; ++i) q[i] = p[i] > limit ? edge : p[i];
      else if (type == 3) for (int64_t i = 0; i < n; ++i) q[i] = p[i] > limit ? p[i] : T(0);
      else for (int64_t i = 0; i < n; ++i) q[i] = p[i] > limit ? T(0) : p[i];
    }
    return OK;
  }
};
inline int threshold(const Image* in, int, const Image* out, const double* args) {
  return by_depth<Threshold>(in[0].depth, in[0], out[0], args);
}

// in: bytes, their neighbourhoods' means. args: value, whether inverse, delta
inline int adaptive(const Image* in, int, const Image* out, const double* args) {
  const uint8_t high = To<uint8_t>::of(args[0]), above = args[1] != 0 ? 0 : high, below = args[1] != 0 ? high : 0;
  const int delta = int(args[1] != 0 ? __builtin_floor(args[2]) : __builtin_ceil(args[2]));
  for (int64_t y = 0; y < out[0].h && goes_on(out[0]); ++y) {
    const uint8_t *p = row<uint8_t>(in[0], y), *m = row<uint8_t>(in[1], y);
    uint8_t* d = row<uint8_t>(out[0], y);
    for (int64_t i = 0; i < out[0].w; ++i) d[i] = p[i] - m[i] > -delta ? above : below;
  }
  return OK;
}

// in: two images, two float32 weights with one channel
template <class T> struct Blend {
  static int run(const Image* in, const Image& d) {
    for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
      const T *p = row<T>(in[0], y), *q = row<T>(in[1], y);
      const float *a = row<float>(in[2], y), *b = row<float>(in[3], y);
      T* o = row<T>(d, y);
      for (int64_t x = 0; x < d.w; ++x)
        for (int64_t k = x * d.c; k < (x + 1) * d.c; ++k) o[k] = To<T>::of(float(p[k] * a[x] + q[k] * b[x]) / (a[x] + b[x] + 1e-5f));
    }
    return OK;
  }
};
inline int blend(const Image* in, int, const Image* out, const double*) {
  if (in[0].depth == U8) return Blend<uint8_t>::run(in, out[0]);
  return in[0].depth == F32 ? Blend<float>::run(in, out[0]) : BAD_TYPE;
}

// in: an image, perhaps a mask of bytes; out: five float64: least, greatest, greatest size, sum of sizes, sum of squares
template <class T> struct Measure {
  static int run(const Image* in, int inputs, double* out) {
    bool first = true;
    double lo = 0, hi = 0, sum = 0, squares = 0;
    for (int64_t y = 0; y < in[0].h && goes_on(in[0]); ++y) {
      const T* p = row<T>(in[0], y);
      const uint8_t* m = inputs > 1 ? row<uint8_t>(in[1], y) : nullptr;
      for (int64_t i = 0; i < in[0].w * in[0].c; ++i) {
        if (m && !m[i / in[0].c]) continue;
        const double v = p[i];
        lo = first || v < lo ? v : lo;
        hi = first || v > hi ? v : hi;
        first = false;
        sum += v < 0 ? -v : v;
        squares += v * v;
      }
    }
    out[0] = lo, out[1] = hi, out[2] = most(hi, -lo), out[3] = sum, out[4] = squares;
    return OK;
  }
};
inline int measure(const Image* in, int inputs, const Image* out, const double*) {
  return by_depth<Measure>(in[0].depth, in, inputs, row<double>(out[0], 0));
}
// in: an image of at most 4 channels, and perhaps a mask; out: how many pixels, then the sum of each channel (float64)
template <class T> struct Sums {
  static int run(const Image* in, int inputs, double* to) {
    const Image& s = in[0];
    for (int64_t y = 0; y < s.h && goes_on(s); ++y) {
      const T* p = row<T>(s, y);
      const uint8_t* mask = inputs > 1 ? row<uint8_t>(in[1], y) : nullptr;
      double sum[4] = {0, 0, 0, 0};
      int64_t count = 0;
      for (int64_t x = 0; x < s.w; ++x) {
        if (mask && !mask[x]) continue;
        ++count;
        for (int64_t k = 0; k < s.c; ++k) sum[k] += double(p[x * s.c + k]);
      }
      to[0] += double(count);
      for (int k = 0; k < 4; ++k) to[1 + k] += sum[k];
    }
    return OK;
  }
};
inline int sums(const Image* in, int inputs, const Image* out, const double*) {
  if (in[0].c > 4) return BAD_TYPE;
  return by_depth<Sums>(in[0].depth, in, inputs, row<double>(out[0], 0));
}
// in: bytes; out: 256 int32, how often each occurs
inline int count_bytes(const Image* in, int, const Image* out, const double*) {
  int32_t* n = row<int32_t>(out[0], 0);
  for (int64_t y = 0; y < in[0].h && goes_on(in[0]); ++y)
    for (int64_t i = 0; i < in[0].w * in[0].c; ++i) ++n[row<uint8_t>(in[0], y)[i]];
  return OK;
}
}}}  // namespace
#endif
