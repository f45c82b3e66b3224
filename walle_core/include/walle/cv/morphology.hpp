// Least and greatest values under a structuring element.
#ifndef WALLE_CV_MORPHOLOGY_HPP
#define WALLE_CV_MORPHOLOGY_HPP
#define WALLE_CV_MORPHOLOGY_ROWS {"morph", morph},

namespace walle { namespace cv { namespace {

template <class T> inline T lowest() { return T(-1) < T(0) ? T(T(1) << (sizeof(T) * 8 - 1)) : T(0); }
template <> inline float lowest<float>() { return -3.402823466e38f; }
template <> inline double lowest<double>() { return -1.7976931348623158e308; }
template <class T> inline T highest() { return T(-1) < T(0) ? T(~lowest<T>()) : T(~T(0)); }
template <> inline float highest<float>() { return 3.402823466e38f; }
template <> inline double highest<double>() { return 1.7976931348623158e308; }

template <bool MAX, class T> inline void extreme(T* o, const T* a, const T* b, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) o[i] = MAX ? (a[i] < b[i] ? b[i] : a[i]) : (b[i] < a[i] ? b[i] : a[i]);
}

template <class T, bool MAX> struct Morph {
  // An element without holes: along rows by doubling the span, then down the columns.
  static int rectangle(const Image& s, const Image& d, int kw, int kh, int ax, int ay, int border, const Constant<T>& outside) {
    PaddedRow<T> pad(s, kw, ax, border, T(0));
    pad.constant = outside;
    const int64_t n = s.w * s.c;
    Scratch<T> ring((n + 64) * kh);
    if (!pad || !ring) return NO_MEMORY;
    for (int64_t y = -ay; y < d.h - ay + kh - 1 && goes_on(d); ++y) {
      T* to = ring.p + ((y + ay) % kh) * (n + 64);
      const T* from = pad.of(y);
      if (!from) {
        for (int64_t i = 0; i < n; ++i) to[i] = outside.v[i % s.c];
      } else {
        T* p = pad.data.p;
        int span = 1;
        for (; 2 * span <= kw; span *= 2) extreme<MAX>(p, p, p + span * s.c, (s.w + kw - 2 * span) * s.c);
        extreme<MAX>(to, p, p + (kw - span) * s.c, n);
      }
      if (y + ay < kh - 1) continue;
      T* o = row<T>(d, y + ay - kh + 1);
      std::memcpy(o, ring.p, n * sizeof(T));
      for (int t = 1; t < kh; ++t) extreme<MAX>(o, o, ring.p + t * (n + 64), n);
    }
    return OK;
  }
  static int shape(const Image& s, const Image& k, const Image& d, int ax, int ay, int border, const Constant<T>& outside) {
    PaddedRing<T> ring(s, int(k.w), ax, int(k.h), border, T(0));
    ring.constant = outside;
    if (!ring) return NO_MEMORY;
    const int64_t n = s.w * s.c;
    for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
      T* o = row<T>(d, y);
      bool first = true;
      for (int64_t ky = 0; ky < k.h; ++ky) {
        const T* from = ring.of(y - ay + ky);
        for (int64_t kx = 0; kx < k.w; ++kx) {
          if (!row<uint8_t>(k, ky)[kx]) continue;
          if (first) std::memcpy(o, from + kx * s.c, n * sizeof(T));
          else extreme<MAX>(o, o, from + kx * s.c, n);
          first = false;
        }
      }
    }
    return OK;
  }
  static int run(const Image* in, const Image& d, const double* args) {
    const Image& k = in[1];
    bool full = true;
    for (int64_t i = 0; i < k.h * k.w; ++i) full = full && row<uint8_t>(k, i / k.w)[i % k.w];
    Constant<T> outside(MAX ? lowest<T>() : highest<T>());
    if (args[4] == 0) for (int i = 0; i < MOST_CHANNELS; ++i) outside.v[i] = To<T>::of(args[5 + i % 4]);
    const int ax = int(args[1]), ay = int(args[2]), border = int(args[3]);
    return full ? rectangle(in[0], d, int(k.w), int(k.h), ax, ay, border, outside) : shape(in[0], k, d, ax, ay, border, outside);
  }
};
template <class T> struct AnyMorph {
  static int run(const Image* in, const Image& d, const double* args) {
    return args[0] != 0 ? Morph<T, true>::run(in, d, args) : Morph<T, false>::run(in, d, args);
  }
};
// in: image, element of bytes. args: 1 for the greatest, anchor x, y, border, whether its constant is neutral, constant (4)
inline int morph(const Image* in, int, const Image* out, const double* args) {
  switch (in[0].depth) {
    case U8: return AnyMorph<uint8_t>::run(in, out[0], args);
    case U16: return AnyMorph<uint16_t>::run(in, out[0], args);
    case S16: return AnyMorph<int16_t>::run(in, out[0], args);
    case F32: return AnyMorph<float>::run(in, out[0], args);
    case F64: return AnyMorph<double>::run(in, out[0], args);
    default: return BAD_TYPE;
  }
}
}}}  // namespace
#endif
