// Pixels from anywhere: where each comes from is worked out block by block (a matrix or maps), then sampled.
#ifndef WALLE_CV_WARP_HPP
#define WALLE_CV_WARP_HPP
#define WALLE_CV_WARP_ROWS {"affine", affine}, {"perspective", perspective}, {"remap", remap}, {"rectangle", rectangle},

namespace walle { namespace cv { namespace {

const int SPAN = 256;  // pixels of out that are worked on at once
inline float bounded(float v) {  // NaN becomes the lower bound
  v = v > -3e7f ? v : -3e7f;
  return v < 3e7f ? v : 3e7f;
}

struct Sampling {
  int kind, border;
  double constant[4];
};
// One pixel by its taps, some of which may be outside. Returns false where it is to stay as it is.
template <class T> inline bool sample(const Image& s, const Sampling& how, float fx, float fy, T* d) {
  typedef typename Wide<T>::type W;
  const int taps = taps_of(how.kind);
  float wx[8] = {1}, wy[8] = {1};
  int64_t x, y;
  if (taps == 1) {
    x = int64_t(__builtin_rintf(fx)), y = int64_t(__builtin_rintf(fy));
  } else {
    if (how.kind == LANCZOS4) fx = float(floor_small(fx * 32 + .5f)) / 32, fy = float(floor_small(fy * 32 + .5f)) / 32;
    x = floor_small(fx), y = floor_small(fy);
    weights_at(how.kind, fx - float(x), wx), weights_at(how.kind, fy - float(y), wy);
    x += 1 - taps / 2, y += 1 - taps / 2;
  }
  const bool inside = x >= 0 && y >= 0 && x + taps <= s.w && y + taps <= s.h;
  if (!inside && how.border == TRANSPARENT) return false;
  for (int64_t k = 0; k < s.c; ++k) {
    const W constant = W(how.constant[k & 3]);
    W sum = 0;
    for (int j = 0; j < taps; ++j) {
      const int64_t sy = inside ? y + j : border_index(y + j, s.h, how.border);
      W across = 0;
      for (int i = 0; i < taps; ++i) {
        const int64_t sx = inside ? x + i : border_index(x + i, s.w, how.border);
        across += wx[i] * (sx < 0 || sy < 0 ? constant : W(row<T>(s, sy)[sx * s.c + k]));
      }
      sum += wy[j] * across;
    }
    d[k] = To<T>::of(sum);
  }
  return true;
}

// F gives where n pixels from (x, y) on come from: f(x, y, n, sx, sy).
template <class T, class F> inline int sampled(const Image& s, const Image& d, const Sampling& how, F f) {
  float sx[SPAN], sy[SPAN], fx[SPAN], fy[SPAN];
  int32_t at[SPAN], out[SPAN];
  uint8_t block[SPAN * 4 + SPARE];
  const bool quick = has_bilinear_bytes(s) && how.kind == LINEAR && sizeof(T) == 1;
  const int32_t stride = int32_t(s.stride), c = int32_t(s.c), w = int32_t(s.w) - 2, h = int32_t(s.h) - 2;
  for (int64_t y = 0; y < d.h && goes_on(d); ++y)
    for (int64_t x = 0; x < d.w; x += SPAN) {
      const int n = int(least<int64_t>(SPAN, d.w - x));
      T* o = row<T>(d, y) + x * d.c;
      f(x, y, n, sx, sy);
      if (!quick) {
        for (int i = 0; i < n; ++i) sample<T>(s, how, bounded(sx[i]), bounded(sy[i]), o + i * d.c);
        continue;
      }
      int outside = 0;
      for (int i = 0; i < n; ++i) {
        const float bx = bounded(sx[i]), by = bounded(sy[i]);
        const int32_t px = floor_small(bx), py = floor_small(by);
        const int32_t bad = (px | py | (w - px) | (h - py)) < 0 ? 1 : 0;
        at[i] = (py * stride + px * c) & (bad - 1);
        out[i] = bad, outside += bad;
        fx[i] = bx - float(px), fy[i] = by - float(py);
      }
      if (outside < n) {
        const uint8_t *p = row<uint8_t>(s, 0), *end = row<uint8_t>(s, s.h - 1) + s.w * s.c;
        bilinear_row(s.c, p, s.h > 1 ? p + stride : p, end, at, fx, fy, block, n);
        if (!outside) std::memcpy(o, block, n * d.c);
        else for (int i = 0; i < n; ++i) if (!out[i]) std::memcpy(o + i * d.c, block + i * c, c);
      }
      if (outside) for (int i = 0; i < n; ++i) if (out[i]) sample<T>(s, how, bounded(sx[i]), bounded(sy[i]), o + i * d.c);
    }
  return OK;
}
template <class F> struct WithType {
  template <class T> struct Of { static int run(const Image& s, const Image& d, const Sampling& how, F f) { return sampled<T>(s, d, how, f); } };
};
template <class F> inline int sampled_any(const Image& s, const Image& d, const double* args, F f) {
  Sampling how{int(args[0]), int(args[1]), {args[2], args[3], args[4], args[5]}};
  if (how.kind == AREA) how.kind = LINEAR;
  return by_depth<WithType<F>::template Of>(s.depth, s, d, how, f);
}

// args of all: interpolation, border, constant (4); then a matrix, from pixels of out to pixels of in
inline int affine(const Image* in, int, const Image* out, const double* args) {
  float m[6];
  for (int i = 0; i < 6; ++i) m[i] = float(args[6 + i]);
  return sampled_any(in[0], out[0], args, [=](int64_t x, int64_t y, int n, float* sx, float* sy) {
    const float bx = m[1] * float(y) + m[2], by = m[4] * float(y) + m[5];
    for (int i = 0; i < n; ++i) {
      const float px = float(int32_t(x) + i);
      sx[i] = m[0] * px + bx, sy[i] = m[3] * px + by;
    }
  });
}
inline int perspective(const Image* in, int, const Image* out, const double* args) {
  float m[9];
  for (int i = 0; i < 9; ++i) m[i] = float(args[6 + i]);
  return sampled_any(in[0], out[0], args, [=](int64_t x, int64_t y, int n, float* sx, float* sy) {
    const float py = float(y), bx = m[1] * py + m[2], by = m[4] * py + m[5], bw = m[7] * py + m[8];
    for (int i = 0; i < n; ++i) {
      const float px = float(int32_t(x) + i), w = m[6] * px + bw;
      sx[i] = w != 0 ? (m[0] * px + bx) / w : 0, sy[i] = w != 0 ? (m[3] * px + by) / w : 0;
    }
  });
}
// in: image and float32 maps: one with x and y, or one of each. args[6]: 1 if they are relative to the pixel
inline int remap(const Image* in, int inputs, const Image* out, const double* args) {
  const float scale = args[6] != 0 ? 1.f : 0.f;
  return sampled_any(in[0], out[0], args, [=](int64_t x, int64_t y, int n, float* sx, float* sy) {
    const float* p = row<float>(in[1], y) + x * in[1].c;
    if (inputs == 2) for (int i = 0; i < n; ++i) sx[i] = p[2 * i], sy[i] = p[2 * i + 1];
    else std::memcpy(sx, p, n * 4), std::memcpy(sy, row<float>(in[2], y) + x, n * 4);
    for (int i = 0; i < n; ++i) sx[i] += scale * float(int32_t(x) + i), sy[i] += scale * float(y);
  });
}

// A rectangle whose upper left pixel is at args[0], args[1] of in, edges repeated.
inline int rectangle(const Image* in, int, const Image* out, const double* args) {
  const Image &s = in[0], &d = out[0];
  const double left = __builtin_floor(args[0]), top = __builtin_floor(args[1]);
  const float a = float(args[0] - left), b = float(args[1] - top);
  Scratch<float> upper(s.w * s.c), lower(s.w * s.c), done(d.w * d.c);
  if (!upper || !lower || !done) return NO_MEMORY;
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
    const int64_t sy = int64_t(top) + y;
    fetch<float>(s.depth, row<char>(s, within<int64_t>(sy, 0, s.h - 1)), upper.p, s.w * s.c);
    fetch<float>(s.depth, row<char>(s, within<int64_t>(sy + 1, 0, s.h - 1)), lower.p, s.w * s.c);
    for (int64_t x = 0; x < d.w; ++x) {
      const int64_t l = within<int64_t>(int64_t(left) + x, 0, s.w - 1) * s.c, r = within<int64_t>(int64_t(left) + x + 1, 0, s.w - 1) * s.c;
      for (int64_t k = 0; k < d.c; ++k)
        done[x * d.c + k] = (upper[l + k] * (1 - a) + upper[r + k] * a) * (1 - b) + (lower[l + k] * (1 - a) + lower[r + k] * a) * b;
    }
    store(d.depth, done.p, row<char>(d, y), d.w * d.c);
  }
  return OK;
}
}}}  // namespace
#endif
