// Resizing: where each pixel of one axis comes from is worked out once; rows first, then columns.
#ifndef WALLE_CV_RESIZE_HPP
#define WALLE_CV_RESIZE_HPP
#define WALLE_CV_RESIZE_ROWS {"resize", resize},

namespace walle { namespace cv { namespace {

// Taps of every pixel along one axis: sources first[i] .. first[i+1] of `from` with their weights.
struct Axis {
  Scratch<int32_t> first, from;
  Scratch<float> weight;
  int fixed;  // taps per pixel, or 0 where it differs
  Axis(int64_t source, int64_t target, double scale, int kind)
      : first(target + 1), from(target * room(scale, kind)), weight(target * room(scale, kind)), fixed(0) {
    if (!*this) return;
    if (kind == AREA && scale >= 1) area(source, target, scale);
    else points(source, target, scale, kind);
  }
  explicit operator bool() const { return first && from && weight; }
  static int64_t room(double scale, int kind) { return kind == AREA ? int64_t(scale) + 3 : 8; }

  void points(int64_t source, int64_t target, double scale, int kind) {
    const bool cells = kind == AREA;  // enlarged: linear within the source's cells
    const int used = cells ? int(LINEAR) : kind, taps = taps_of(used);
    fixed = taps;
    for (int64_t i = 0; i <= target; ++i) first[i] = int32_t(i * taps);
    for (int64_t i = 0; i < target; ++i) {
      int32_t* s = from.p + i * taps;
      float* w = weight.p + i * taps;
      if (taps == 1) {
        const int64_t at = kind == NEAREST ? int64_t(__builtin_floor(i * scale)) : (2 * i + 1) * source / (2 * target);
        s[0] = int32_t(least<int64_t>(at, source - 1));
        w[0] = 1;
        continue;
      }
      float f = float((i + .5) * scale - .5);
      int64_t at = int64_t(__builtin_floor(f));
      if (cells) {
        at = int64_t(__builtin_floor(i * scale));
        f = float((i + 1) - (at + 1) / scale);
        f = f <= 0 ? 0.f : f - __builtin_floor(f);
      } else {
        f -= float(at);
      }
      if (taps == 2 && at < 0) at = 0, f = 0;
      if (taps == 2 && at >= source - 1) at = source - 1, f = 0;
      weights_at(used, f, w);
      for (int t = 0; t < taps; ++t) s[t] = int32_t(within<int64_t>(at + 1 - taps / 2 + t, 0, source - 1));
    }
  }
  void area(int64_t source, int64_t target, double scale) {
    int32_t n = 0;
    for (int64_t i = 0; i < target; ++i) {
      first[i] = n;
      const double a = i * scale, b = a + scale, width = least(scale, source - a);
      int64_t l = int64_t(__builtin_ceil(a)), r = least<int64_t>(int64_t(__builtin_floor(b)), source - 1);
      l = least(l, r);
      if (l - a > 1e-3) from[n] = int32_t(l - 1), weight[n++] = float((l - a) / width);
      for (int64_t k = l; k < r; ++k) from[n] = int32_t(k), weight[n++] = float(1. / width);
      if (b - r > 1e-3) from[n] = int32_t(r), weight[n++] = float(least(least(b - r, 1.), width) / width);
    }
    first[target] = n;
  }
};

template <int64_t N> inline void nearest_row(const char* s, char* d, const int32_t* from, int64_t w, int64_t n) {
  if (N) n = N;
  for (int64_t x = 0; x < w; ++x) std::memcpy(d + x * n, s + from[x] * n, N ? N : n);
}
inline int nearest(const Image& s, const Image& d, const Axis& x, const Axis& y) {
  const int64_t n = pixel_size(s);
  for (int64_t i = 0; i < d.h && goes_on(d); ++i) {
    const char* from = row<char>(s, y.from[i]);
    char* to = row<char>(d, i);
    if (i && y.from[i] == y.from[i - 1]) std::memcpy(to, row<char>(d, i - 1), d.w * n);
    else if (n == 1) nearest_row<1>(from, to, x.from.p, d.w, n);
    else if (n == 3) nearest_row<3>(from, to, x.from.p, d.w, n);
    else if (n == 4) nearest_row<4>(from, to, x.from.p, d.w, n);
    else nearest_row<0>(from, to, x.from.p, d.w, n);
  }
  return OK;
}

// Offsets and fractions of a bilinear row of bytes, and such a row.
struct BilinearRows {
  const Image& s;
  Scratch<int32_t> at;
  Scratch<float> fx, fy;
  BilinearRows(const Image& image, const Axis& x, int64_t w) : s(image), at(w), fx(w), fy(BLOCK) {
    if (!*this) return;
    for (int64_t i = 0; i < w; ++i) at[i] = int32_t(x.from[2 * i] * image.c), fx[i] = x.weight[2 * i + 1];
  }
  explicit operator bool() const { return at && fx && fy; }
  void row_of(const Axis& y, int64_t i, int64_t x0, uint8_t* to, int n) const {  // n <= BLOCK pixels from x0 on; SPARE bytes more
    for (int k = 0; k < n; ++k) fy[k] = y.weight[2 * i + 1];
    const uint8_t* end = row<uint8_t>(s, s.h - 1) + s.w * s.c;
    bilinear_row(s.c, row<uint8_t>(s, y.from[2 * i]), row<uint8_t>(s, y.from[2 * i + 1]), end, at.p + x0, fx.p + x0, fy.p, to, n);
  }
};
inline int bilinear(const Image& s, const Image& d, const Axis& x, const Axis& y) {
  BilinearRows rows(s, x, d.w);
  if (!rows) return NO_MEMORY;
  uint8_t block[BLOCK * 4 + SPARE];
  for (int64_t i = 0; i < d.h && goes_on(d); ++i)
    for (int64_t x0 = 0; x0 < d.w; x0 += BLOCK) {
      const int n = int(least<int64_t>(BLOCK, d.w - x0));
      rows.row_of(y, i, x0, block, n);
      std::memcpy(row<uint8_t>(d, i) + x0 * d.c, block, n * d.c);
    }
  return OK;
}

// One row of sums becomes pixels: TAPS and C fixed where they are not 0.
template <int TAPS, int C, class W, class T> inline void columns_of(const W* line, const Axis& x, T* d, int64_t w, int64_t c) {
  if (C) c = C;
  for (int64_t i = 0; i < w; ++i) {
    const int32_t begin = x.first[i], taps = TAPS ? TAPS : x.first[i + 1] - begin;
    const int32_t* from = x.from.p + begin;
    const float* weight = x.weight.p + begin;
    for (int64_t k = 0; k < c; ++k) {
      W sum = 0;
      for (int t = 0; t < taps; ++t) sum += weight[t] * line[from[t] * c + k];
      d[i * c + k] = To<T>::of(sum);
    }
  }
}
// The same for three or four floats per pixel: one vector each; `line` has room for one float more.
typedef float Floats4 __attribute__((vector_size(16)));
template <int TAPS, int C, class T> inline void pixels_of(const float* line, const Axis& x, T* d, int64_t w) {
  float done[BLOCK * C + 4];
  for (int64_t x0 = 0; x0 < w; x0 += BLOCK) {
    const int n = int(least<int64_t>(BLOCK, w - x0));
    for (int i = 0; i < n; ++i) {
      const int32_t begin = x.first[x0 + i], taps = TAPS ? TAPS : x.first[x0 + i + 1] - begin;
      const int32_t* from = x.from.p + begin;
      const float* weight = x.weight.p + begin;
      Floats4 sum = {0, 0, 0, 0}, pixel;
      for (int t = 0; t < taps; ++t) {
        std::memcpy(&pixel, line + from[t] * C, 16);
        sum += weight[t] * pixel;
      }
      std::memcpy(done + i * C, &sum, 16);
    }
    T* to = d + x0 * C;
    for (int i = 0; i < n * C; ++i) to[i] = To<T>::of(done[i]);
  }
}
template <int TAPS, class T> inline void columns(const float* line, const Axis& x, T* d, int64_t w, int64_t c) {
  if (c == 1) columns_of<TAPS, 1>(line, x, d, w, c);
  else if (c == 3) pixels_of<TAPS, 3>(line, x, d, w);
  else if (c == 4) pixels_of<TAPS, 4>(line, x, d, w);
  else columns_of<TAPS, 0>(line, x, d, w, c);
}
template <int TAPS, class W, class T> inline void columns(const W* line, const Axis& x, T* d, int64_t w, int64_t c) {
  if (c == 1) columns_of<TAPS, 1>(line, x, d, w, c);
  else if (c == 3) columns_of<TAPS, 3>(line, x, d, w, c);
  else if (c == 4) columns_of<TAPS, 4>(line, x, d, w, c);
  else columns_of<TAPS, 0>(line, x, d, w, c);
}
template <class T> struct Tapped {
  static int run(const Image& s, const Image& d, const Axis& x, const Axis& y) {
    typedef typename Wide<T>::type W;
    const int64_t n = s.w * s.c;
    int most_taps = 1;
    for (int64_t i = 0; i < d.h; ++i) most_taps = most(most_taps, y.first[i + 1] - y.first[i]);
    Scratch<W> line(n), weight(most_taps);
    Scratch<const T*> rows(most_taps);
    if (!line || !weight || !rows) return NO_MEMORY;
    for (int64_t i = 0; i < d.h && goes_on(d); ++i) {
      const int taps = y.first[i + 1] - y.first[i];
      for (int t = 0; t < taps; ++t) rows[t] = row<T>(s, y.from[y.first[i] + t]), weight[t] = W(y.weight[y.first[i] + t]);
      weighted_sum(rows.p, weight.p, taps, line.p, n, SameValue<W>());
      T* o = row<T>(d, i);
      if (x.fixed == 2) columns<2>(line.p, x, o, d.w, d.c);
      else if (x.fixed == 4) columns<4>(line.p, x, o, d.w, d.c);
      else if (x.fixed == 8) columns<8>(line.p, x, o, d.w, d.c);
      else columns<0>(line.p, x, o, d.w, d.c);
    }
    return OK;
  }
};

// args: interpolation, source pixels per pixel of out in x and y
inline int resize(const Image* in, int, const Image* out, const double* args) {
  const Image &s = in[0], &d = out[0];
  int kind = int(args[0]);
  if (kind == LINEAR_EXACT) kind = LINEAR;
  if (kind == AREA && !(args[1] >= 1 && args[2] >= 1)) {  // one axis enlarged: both as if enlarged
    if (args[1] >= 1 || args[2] >= 1) kind = LINEAR + 100;
  }
  const int each = kind == LINEAR + 100 ? int(AREA) : kind;
  const bool cells = kind == LINEAR + 100;
  Axis x(s.w, d.w, args[1], each), y(s.h, d.h, args[2], each);
  if (!x || !y) return NO_MEMORY;
  if (cells) x.points(s.w, d.w, args[1], AREA), y.points(s.h, d.h, args[2], AREA);
  if (x.fixed == 1) return nearest(s, d, x, y);
  if (x.fixed == 2 && y.fixed == 2 && has_bilinear_bytes(s)) return bilinear(s, d, x, y);
  return by_depth<Tapped>(s.depth, s, d, x, y);
}
}}}  // namespace
#endif
