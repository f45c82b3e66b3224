// The bilateral filter.
#ifndef WALLE_CV_SMOOTH_HPP
#define WALLE_CV_SMOOTH_HPP
#define WALLE_CV_SMOOTH_ROWS {"bilateral", bilateral},

namespace walle { namespace cv { namespace {

// Tomasi and Manduchi 1998; distances of colours are sums over channels. args: radius, sigmas of colour and space, border
template <class T> inline int bilateral_of(const Image& s, const Image& d, const double* args) {
  const int radius = int(args[0]), k = 2 * radius + 1;
  const double color = -.5 / (args[1] * args[1]), space = -.5 / (args[2] * args[2]);
  PaddedRing<T> ring(s, k, radius, k, int(args[3]), T(0));
  const bool bytes = sizeof(T) == 1;
  Scratch<float> near(768), weight(s.w), total(s.w), sums(s.w * s.c);
  if (!ring || !near || !weight || !total || !sums) return NO_MEMORY;
  for (int i = 0; i < 768; ++i) near[i] = float(std::exp(double(i) * i * color));
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
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
