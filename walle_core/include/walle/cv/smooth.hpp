// Filters that are not linear: medians and the bilateral filter.
#ifndef WALLE_CV_SMOOTH_HPP
#define WALLE_CV_SMOOTH_HPP
#define WALLE_CV_SMOOTH_ROWS {"median", median}, {"bilateral", bilateral},

namespace walle { namespace cv { namespace {

// The median of 9 or 25 rows, lane by lane: least and greatest of what is left are put aside until one remains.
template <class T, int TAPS> inline void median_lanes(const T* const* s, T* o, int64_t n) {
  const int L = 64 / sizeof(T);
  for (int64_t x = 0; x < n; x += L) {
    T v[TAPS][L];
    for (int t = 0; t < TAPS; ++t) std::memcpy(v[t], s[t] + x, sizeof v[t]);
    const int half = TAPS / 2 + 2;  // of so many values the least and the greatest cannot be the median
    int held = half, next = half;
    for (int from = 0; held > 1; ++from) {
      for (int t = from + 1; t < from + held; ++t)
        for (int i = 0; i < L; ++i) { T a = least(v[from][i], v[t][i]), b = most(v[from][i], v[t][i]); v[from][i] = a, v[t][i] = b; }
      const int last = from + held - 1;
      for (int t = from + 1; t < last; ++t)
        for (int i = 0; i < L; ++i) { T a = least(v[t][i], v[last][i]), b = most(v[t][i], v[last][i]); v[t][i] = a, v[last][i] = b; }
      held -= 2;
      if (next < TAPS) {
        std::memcpy(v[last], v[next++], sizeof v[0]);
        ++held;
      } else if (held == 1) {
        std::memcpy(v[0], v[from + 1], sizeof v[0]);
      }
    }
    std::memcpy(o + x, v[0], least<int64_t>(L, n - x) * sizeof(T));
  }
}
template <class T, int K> inline int small_median(const Image& s, const Image& d) {
  PaddedRing<T> ring(s, K, K / 2, K, REPLICATE, T(0));
  if (!ring) return NO_MEMORY;
  std::memset(static_cast<void*>(ring.data.p), 0, ring.length * K * sizeof(T));
  for (int64_t y = 0; y < d.h; ++y) {
    const T* rows[K * K];
    for (int t = 0; t < K * K; ++t) rows[t] = ring.of(y - K / 2 + t / K) + t % K * s.c;
    median_lanes<T, K * K>(rows, row<T>(d, y), s.w * s.c);
  }
  return OK;
}
// Bytes under any window: a histogram that moves along the row.
inline int wide_median(const Image& s, const Image& d, int k) {
  PaddedRing<uint8_t> ring(s, k, k / 2, k, REPLICATE, uint8_t(0));
  Scratch<const uint8_t*> rows(k);
  if (!ring || !rows) return NO_MEMORY;
  const int middle = k * k / 2;
  for (int64_t y = 0; y < d.h; ++y) {
    for (int t = 0; t < k; ++t) rows[t] = ring.of(y - k / 2 + t);
    for (int64_t c = 0; c < s.c; ++c) {
      int count[256] = {0}, below = 0, at = 0;  // below: how many are less than at
      for (int t = 0; t < k; ++t) for (int x = 0; x < k; ++x) ++count[rows[t][x * s.c + c]];
      for (int64_t x = 0;; ++x) {
        while (below > middle) below -= count[--at];
        while (below + count[at] <= middle) below += count[at++];
        row<uint8_t>(d, y)[x * s.c + c] = uint8_t(at);
        if (x + 1 == s.w) break;
        for (int t = 0; t < k; ++t) {
          const int old = rows[t][x * s.c + c], fresh = rows[t][(x + k) * s.c + c];
          --count[old], ++count[fresh];
          below += (fresh < at) - (old < at);
        }
      }
    }
  }
  return OK;
}
template <class T> inline int any_median(const Image& s, const Image& d, int k) {
  return k == 3 ? small_median<T, 3>(s, d) : k == 5 ? small_median<T, 5>(s, d) : BAD_TYPE;
}
// args: size, odd
inline int median(const Image* in, int, const Image* out, const double* args) {
  const int k = int(args[0]);
  switch (in[0].depth) {
    case U8: return k > 5 ? wide_median(in[0], out[0], k) : any_median<uint8_t>(in[0], out[0], k);
    case U16: return any_median<uint16_t>(in[0], out[0], k);
    case S16: return any_median<int16_t>(in[0], out[0], k);
    case F32: return any_median<float>(in[0], out[0], k);
    default: return BAD_TYPE;
  }
}

// Tomasi and Manduchi 1998; distances of colours are sums over channels. args: radius, sigmas of colour and space, border
template <class T> inline int bilateral_of(const Image& s, const Image& d, const double* args) {
  const int radius = int(args[0]), k = 2 * radius + 1;
  const double color = -.5 / (args[1] * args[1]), space = -.5 / (args[2] * args[2]);
  PaddedRing<T> ring(s, k, radius, k, int(args[3]), T(0));
  const bool bytes = sizeof(T) == 1;
  Scratch<float> near(768), weight(s.w), total(s.w), sums(s.w * s.c);
  if (!ring || !near || !weight || !total || !sums) return NO_MEMORY;
  for (int i = 0; i < 768; ++i) near[i] = float(std::exp(double(i) * i * color));
  for (int64_t y = 0; y < d.h; ++y) {
    for (int64_t x = 0; x < s.w; ++x) total[x] = 0;
    for (int64_t x = 0; x < s.w * s.c; ++x) sums[x] = 0;
    for (int dy = -radius; dy <= radius; ++dy)
      for (int dx = -radius; dx <= radius; ++dx) {
        if (dx * dx + dy * dy > radius * radius) continue;
        const float here = float(std::exp((double(dx) * dx + double(dy) * dy) * space));
        const T *p = ring.of(y + dy) + (radius + dx) * s.c, *mid = row<T>(s, y);
        for (int64_t x = 0; x < s.w; ++x) {
          typename Wide<T>::type far = 0;
          for (int64_t c = x * s.c; c < (x + 1) * s.c; ++c) far += p[c] < mid[c] ? mid[c] - p[c] : p[c] - mid[c];
          weight[x] = here * (bytes ? near[int(far)] : float(std::exp(double(far) * far * color)));
        }
        for (int64_t x = 0; x < s.w; ++x) total[x] += weight[x];
        for (int64_t x = 0; x < s.w; ++x) for (int64_t c = x * s.c; c < (x + 1) * s.c; ++c) sums[c] += p[c] * weight[x];
      }
    for (int64_t x = 0; x < s.w; ++x)
      for (int64_t c = x * s.c; c < (x + 1) * s.c; ++c) row<T>(d, y)[c] = To<T>::of(sums[c] / total[x]);
  }
  return OK;
}
inline int bilateral(const Image* in, int, const Image* out, const double* args) {
  if (in[0].depth == U8) return bilateral_of<uint8_t>(in[0], out[0], args);
  return in[0].depth == F32 ? bilateral_of<float>(in[0], out[0], args) : BAD_TYPE;
}
}}}  // namespace
#endif
