// The forms of maps: pairs of float32; pairs of int16 with fractions in 32nds, y's five bits above x's.
#ifndef WALLE_CV_MAPS_HPP
#define WALLE_CV_MAPS_HPP
#define WALLE_CV_MAPS_ROWS {"pair_maps", pair_maps}, {"whole_maps", whole_maps}, {"map_fractions", map_fractions},

namespace walle { namespace cv { namespace {

// in: float32 x and y, pairs, or int16 pairs and perhaps fractions; out: float32 pairs
inline int pair_maps(const Image* in, int inputs, const Image* out, const double*) {
  for (int64_t y = 0; y < out[0].h && goes_on(out[0]); ++y) {
    float* d = row<float>(out[0], y);
    const int64_t n = out[0].w;
    if (in[0].depth == S16) {
      const int16_t* p = row<int16_t>(in[0], y);
      const uint16_t* f = inputs > 1 ? row<uint16_t>(in[1], y) : nullptr;
      for (int64_t x = 0; x < n; ++x) {
        const int part = f ? f[x] : 0;
        d[2 * x] = float(p[2 * x]) + float(part & 31) / 32, d[2 * x + 1] = float(p[2 * x + 1]) + float(part >> 5 & 31) / 32;
      }
    } else if (inputs == 1) {
      std::memcpy(d, row<float>(in[0], y), 2 * n * sizeof(float));
    } else {
      const float *p = row<float>(in[0], y), *q = row<float>(in[1], y);
      for (int64_t x = 0; x < n; ++x) d[2 * x] = p[x], d[2 * x + 1] = q[x];
    }
  }
  return OK;
}
inline int32_t in_32nds(float v) { return To<int32_t>::of(v * 32.f); }
// in: float32 pairs; out: int16 pairs. args: whether rounded to whole pixels
inline int whole_maps(const Image* in, int, const Image* out, const double* args) {
  for (int64_t y = 0; y < out[0].h && goes_on(out[0]); ++y) {
    const float* p = row<float>(in[0], y);
    int16_t* d = row<int16_t>(out[0], y);
    for (int64_t i = 0; i < 2 * out[0].w; ++i) d[i] = args[0] != 0 ? To<int16_t>::of(p[i]) : To<int16_t>::of(int(in_32nds(p[i]) >> 5));
  }
  return OK;
}
// in: float32 pairs; out: uint16 fractions
inline int map_fractions(const Image* in, int, const Image* out, const double*) {
  for (int64_t y = 0; y < out[0].h && goes_on(out[0]); ++y) {
    const float* p = row<float>(in[0], y);
    uint16_t* d = row<uint16_t>(out[0], y);
    for (int64_t x = 0; x < out[0].w; ++x) d[x] = uint16_t((in_32nds(p[2 * x + 1]) & 31) * 32 + (in_32nds(p[2 * x]) & 31));
  }
  return OK;
}
}}}  // namespace
#endif
