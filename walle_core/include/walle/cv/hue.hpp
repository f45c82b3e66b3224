// Hue, saturation and value or lightness. args: place of blue, numbers of hues (180, 256 or 255; 360 for float32)
#ifndef WALLE_CV_HUE_HPP
#define WALLE_CV_HUE_HPP
#define WALLE_CV_HUE_ROWS {"to_hsv", to_hsv}, {"from_hsv", from_hsv}, {"to_hls", to_hls}, {"from_hls", from_hls},

namespace walle { namespace cv { namespace {

template <class T, class W, class F> inline int by_planes(const Image& s, const Image& d, F f);

inline int to_hsv(const Image* in, int, const Image* out, const double* args) {
  const int blue = int(args[0]), hues = int(args[1]);
  if (in[0].depth == U8) {
    int saturations[256], sectors[256];
    saturations[0] = sectors[0] = 0;
    for (int i = 1; i < 256; ++i) {
      saturations[i] = int(__builtin_rint((255 << 12) / (1. * i)));
      sectors[i] = int(__builtin_rint((hues << 12) / (6. * i)));
    }
    return by_planes<uint8_t, int>(in[0], out[0], [&](int* a, int* b, int* c, int n) {
      for (int i = 0; i < n; ++i) {
        const int B = blue ? c[i] : a[i], G = b[i], R = blue ? a[i] : c[i];
        const int v = most(B, most(G, R)), range = v - least(B, least(G, R));
        const int s = (range * saturations[v] + 2048) >> 12;
        const int turn = v == R ? G - B : v == G ? B - R + 2 * range : R - G + 4 * range;
        const int h = (turn * sectors[range] + 2048) >> 12;
        a[i] = h < 0 ? h + hues : h, b[i] = s, c[i] = v;
      }
    });
  }
  if (in[0].depth != F32) return BAD_TYPE;
  const float scale = hues / 360.f;
  return by_planes<float, float>(in[0], out[0], [=](float* a, float* b, float* c, int n) {
    for (int i = 0; i < n; ++i) {
      const float B = blue ? c[i] : a[i], G = b[i], R = blue ? a[i] : c[i];
      const float v = most(B, most(G, R)), range = v - least(B, least(G, R));
      const float s = range / ((v < 0 ? -v : v) + 1.1920929e-7f), step = 60.f / (range + 1.1920929e-7f);
      float h = v == R ? (G - B) * step : v == G ? (B - R) * step + 120.f : (R - G) * step + 240.f;
      h = h < 0 ? h + 360.f : h;
      a[i] = h * scale, b[i] = s, c[i] = v;
    }
  });
}

// A hue in sectors of 60 degrees, from 0 to below 6; its whole part and its fraction.
inline int sector_of(float& h) {
  const int whole = floor_small(within(h, -1e6f, 1e6f)), k = whole % 6;
  h -= float(whole);
  return k < 0 ? k + 6 : k;
}
inline void from_hsv_block(float* a, float* b, float* c, int n, int blue, float sectors) {
  for (int i = 0; i < n; ++i) {
    float h = a[i] * sectors;
    const float s = b[i], v = c[i];
    const int k = sector_of(h);
    const float low = v * (1 - s), fall = v * (1 - s * h), rise = v * (1 - s * (1 - h));
    const float B = k == 0 || k == 1 ? low : k == 2 ? rise : k == 5 ? fall : v;
    const float G = k == 0 ? rise : k == 1 || k == 2 ? v : k == 3 ? fall : low;
    const float R = k == 0 || k == 5 ? v : k == 1 ? fall : k == 4 ? rise : low;
    a[i] = blue ? R : B, b[i] = G, c[i] = blue ? B : R;
  }
}
inline void from_hls_block(float* a, float* b, float* c, int n, int blue, float sectors) {
  for (int i = 0; i < n; ++i) {
    float h = a[i] * sectors;
    const float l = b[i], s = c[i];
    const int k = sector_of(h);
    const float high = l <= .5f ? l * (1 + s) : l + s - l * s, low = 2 * l - high;
    const float fall = low + (high - low) * (1 - h), rise = low + (high - low) * h;
    const float B = k == 0 || k == 1 ? low : k == 2 ? rise : k == 5 ? fall : high;
    const float G = k == 0 ? rise : k == 1 || k == 2 ? high : k == 3 ? fall : low;
    const float R = k == 0 || k == 5 ? high : k == 1 ? fall : k == 4 ? rise : low;
    a[i] = blue ? R : B, b[i] = G, c[i] = blue ? B : R;
  }
}
inline void to_hls_block(float* a, float* b, float* c, int n, int blue, float scale) {
  for (int i = 0; i < n; ++i) {
    const float B = blue ? c[i] : a[i], G = b[i], R = blue ? a[i] : c[i];
    const float high = most(B, most(G, R)), low = least(B, least(G, R)), range = high - low, l = (high + low) * .5f;
    float h = 0, s = 0;
    if (range > 1.1920929e-7f) {
      s = l < .5f ? range / (high + low) : range / (2 - high - low);
      const float step = 60.f / range;
      h = high == R ? (G - B) * step : high == G ? (B - R) * step + 120.f : (R - G) * step + 240.f;
      h = h < 0 ? h + 360.f : h;
    }
    a[i] = h * scale, b[i] = l, c[i] = s;
  }
}

// Bytes through float planes: f on values of 0 to 1, hues as they are.
template <class F> inline int hue_bytes(const Image& s, const Image& d, bool back, F f) {
  return by_planes<uint8_t, float>(s, d, [=](float* a, float* b, float* c, int n) {
    for (int i = 0; i < n; ++i) a[i] *= back ? 1.f : 1.f / 255.f, b[i] *= 1.f / 255.f, c[i] *= 1.f / 255.f;
    f(a, b, c, n);
    for (int i = 0; i < n; ++i) a[i] *= back ? 255.f : 1.f, b[i] *= 255.f, c[i] *= 255.f;
  });
}
inline int from_hsv(const Image* in, int, const Image* out, const double* args) {
  const int blue = int(args[0]);
  const float sectors = float(6 / args[1]);
  auto block = [=](float* a, float* b, float* c, int n) { from_hsv_block(a, b, c, n, blue, sectors); };
  if (in[0].depth == F32) return by_planes<float, float>(in[0], out[0], block);
  return in[0].depth == U8 ? hue_bytes(in[0], out[0], true, block) : BAD_TYPE;
}
inline int to_hls(const Image* in, int, const Image* out, const double* args) {
  const int blue = int(args[0]);
  const float scale = float(args[1] / 360);
  auto block = [=](float* a, float* b, float* c, int n) { to_hls_block(a, b, c, n, blue, scale); };
  if (in[0].depth == F32) return by_planes<float, float>(in[0], out[0], block);
  return in[0].depth == U8 ? hue_bytes(in[0], out[0], false, block) : BAD_TYPE;
}
inline int from_hls(const Image* in, int, const Image* out, const double* args) {
  const int blue = int(args[0]);
  const float sectors = float(6 / args[1]);
  auto block = [=](float* a, float* b, float* c, int n) { from_hls_block(a, b, c, n, blue, sectors); };
  if (in[0].depth == F32) return by_planes<float, float>(in[0], out[0], block);
  return in[0].depth == U8 ? hue_bytes(in[0], out[0], true, block) : BAD_TYPE;
}
}}}  // namespace
#endif
