// CIE 1976 L*a*b* and L*u*v* under D65 (ITU-R BT.709 primaries), from bytes or float32 of 0 to 1. Bytes hold L * 255 / 100, a and b
// plus 128, (u + 134) * 255 / 354 and (v + 140) * 255 / 262. Roots are Newton's, so that all of it runs in vectors.
//
// args: place of blue, whether colours are under sRGB's curve
#ifndef WALLE_CV_LAB_HPP
#define WALLE_CV_LAB_HPP
#define WALLE_CV_LAB_ROWS {"to_lab", to_lab}, {"from_lab", from_lab}, {"to_luv", to_luv}, {"from_luv", from_luv},

namespace walle { namespace cv { namespace {

template <class T, class W, class F> inline int by_planes(const Image& s, const Image& d, F f);
inline const double* xyz_matrix(bool back);

const float WHITE_X = 0.950456f, WHITE_Z = 1.088754f, DARK = 0.008856f, STEEP = 903.3f;
const float WHITE_U = 4 * WHITE_X / (WHITE_X + 15 + 3 * WHITE_Z), WHITE_V = 9 / (WHITE_X + 15 + 3 * WHITE_Z);

// A first guess at the n-th root: the exponent divided by n. For x > 0.
inline float rough_root(float x, int32_t n, int32_t offset) {
  int32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = bits / n + offset;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline float cube_root(float x) {
  float r = rough_root(x, 3, 0x2A5137A0);
  for (int i = 0; i < 3; ++i) r = (r + r + x / (r * r)) * (1.f / 3);
  return r;
}
inline float fifth_root(float x) {
  float r = rough_root(x, 5, 0x32CBFE3C);
  for (int i = 0; i < 4; ++i) r = (4 * r + x / (r * r * r * r)) * .2f;
  return r;
}
// sRGB's curve and back (IEC 61966-2-1); x^2.4 = x² (x^1/5)², x^(1/2.4) = (x^1/12)^5.
inline float to_linear(float v) {
  const float x = most((v + .055f) * (1 / 1.055f), 1e-6f), r = fifth_root(x);
  return v <= .04045f ? v * (1 / 12.92f) : x * x * r * r;
}
inline float from_linear(float v) {
  const float x = most(v, 1e-6f), r = cube_root(__builtin_sqrtf(__builtin_sqrtf(x))), r2 = r * r;
  return v <= .0031308f ? v * 12.92f : 1.055f * r2 * r2 * r - .055f;
}
inline float lightness_curve(float t) { return t > DARK ? cube_root(most(t, 1e-6f)) : 7.787f * t + 16 / 116.f; }
inline float from_lightness_curve(float f) { return f > 7.787f * DARK + 16 / 116.f ? f * f * f : (f - 16 / 116.f) * (1 / 7.787f); }

struct Colours {  // how three planes are red, green and blue
  int blue;
  bool curved;
  float m[9];
  Colours(const double* args, bool back) : blue(int(args[0])), curved(args[1] != 0) {
    for (int i = 0; i < 9; ++i) m[i] = float(xyz_matrix(back)[i]);
  }
  void to_xyz(float a, float g, float c, float& x, float& y, float& z) const {
    float r = within(blue ? a : c, 0.f, 1.f), b = within(blue ? c : a, 0.f, 1.f);
    g = within(g, 0.f, 1.f);
    if (curved) r = to_linear(r), g = to_linear(g), b = to_linear(b);
    x = m[0] * r + m[1] * g + m[2] * b, y = m[3] * r + m[4] * g + m[5] * b, z = m[6] * r + m[7] * g + m[8] * b;
  }
  void from_xyz(float x, float y, float z, float& a, float& g, float& c) const {
    float r = within(m[0] * x + m[1] * y + m[2] * z, 0.f, 1.f), b = within(m[6] * x + m[7] * y + m[8] * z, 0.f, 1.f);
    g = within(m[3] * x + m[4] * y + m[5] * z, 0.f, 1.f);
    if (curved) r = from_linear(r), g = from_linear(g), b = from_linear(b);
    a = blue ? r : b, c = blue ? b : r;
  }
};

inline void lab_block(const Colours& colours, float* a, float* b, float* c, int n) {
  for (int i = 0; i < n; ++i) {
    float x, y, z;
    colours.to_xyz(a[i], b[i], c[i], x, y, z);
    const float fx = lightness_curve(x * (1 / WHITE_X)), fy = lightness_curve(y), fz = lightness_curve(z * (1 / WHITE_Z));
    a[i] = y > DARK ? 116 * fy - 16 : STEEP * y, b[i] = 500 * (fx - fy), c[i] = 200 * (fy - fz);
  }
}
inline void from_lab_block(const Colours& colours, float* a, float* b, float* c, int n) {
  for (int i = 0; i < n; ++i) {
    const float dark = a[i] * (1 / STEEP), bright = (a[i] + 16) * (1 / 116.f);
    const bool is_dark = a[i] <= STEEP * DARK;
    const float fy = is_dark ? 7.787f * dark + 16 / 116.f : bright, y = is_dark ? dark : bright * bright * bright;
    const float x = from_lightness_curve(fy + b[i] * .002f), z = from_lightness_curve(fy - c[i] * .005f);
    colours.from_xyz(x * WHITE_X, y, z * WHITE_Z, a[i], b[i], c[i]);
  }
}
inline void luv_block(const Colours& colours, float* a, float* b, float* c, int n) {
  for (int i = 0; i < n; ++i) {
    float x, y, z;
    colours.to_xyz(a[i], b[i], c[i], x, y, z);
    const float l = y > DARK ? 116 * cube_root(most(y, 1e-6f)) - 16 : STEEP * y;
    const float share = 1 / most(x + 15 * y + 3 * z, 1.1920929e-7f);
    a[i] = l, b[i] = 13 * l * (4 * x * share - WHITE_U), c[i] = 13 * l * (9 * y * share - WHITE_V);
  }
}
inline void from_luv_block(const Colours& colours, float* a, float* b, float* c, int n) {
  for (int i = 0; i < n; ++i) {
    const float l = a[i], bright = (l + 16) * (1 / 116.f), y = l <= STEEP * DARK ? l * (1 / STEEP) : bright * bright * bright;
    // 13 L u' and 1 / (52 L v'), which is bounded as v' comes near 0
    const float u = b[i] + 13 * l * WHITE_U, v = c[i] + 13 * l * WHITE_V, share = within(.25f / (v == 0 ? 1e-30f : v), -.25f, .25f);
    const float x = 9 * y * u * share, z = y * ((156 * l - 3 * u) * share - 5);
    colours.from_xyz(x, y, z, a[i], b[i], c[i]);
  }
}

// Planes of 0 to 1, and of L, a, b or L, u, v as bytes hold them.
struct AsBytes { float scale[3], shift[3]; };
inline AsBytes lab_bytes() { return {{2.55f, 1, 1}, {0, 128, 128}}; }
inline AsBytes luv_bytes() { return {{2.55f, 255 / 354.f, 255 / 262.f}, {0, 134 * 255 / 354.f, 140 * 255 / 262.f}}; }
template <class F> inline int to_perceived(const Image& s, const Image& d, const AsBytes& form, F f) {
  if (s.depth == F32) return by_planes<float, float>(s, d, f);
  if (s.depth != U8) return BAD_TYPE;
  return by_planes<uint8_t, float>(s, d, [=](float* a, float* b, float* c, int n) {
    float* planes[3] = {a, b, c};
    for (float* p : planes) for (int i = 0; i < n; ++i) p[i] *= 1 / 255.f;
    f(a, b, c, n);
    for (int k = 0; k < 3; ++k) for (int i = 0; i < n; ++i) planes[k][i] = planes[k][i] * form.scale[k] + form.shift[k];
  });
}
template <class F> inline int from_perceived(const Image& s, const Image& d, const AsBytes& form, F f) {
  if (s.depth == F32) return by_planes<float, float>(s, d, f);
  if (s.depth != U8) return BAD_TYPE;
  return by_planes<uint8_t, float>(s, d, [=](float* a, float* b, float* c, int n) {
    float* planes[3] = {a, b, c};
    for (int k = 0; k < 3; ++k) for (int i = 0; i < n; ++i) planes[k][i] = (planes[k][i] - form.shift[k]) * (1 / form.scale[k]);
    f(a, b, c, n);
    for (float* p : planes) for (int i = 0; i < n; ++i) p[i] *= 255;
  });
}
inline int to_lab(const Image* in, int, const Image* out, const double* args) {
  const Colours colours(args, false);
  return to_perceived(in[0], out[0], lab_bytes(), [=](float* a, float* b, float* c, int n) { lab_block(colours, a, b, c, n); });
}
inline int from_lab(const Image* in, int, const Image* out, const double* args) {
  const Colours colours(args, true);
  return from_perceived(in[0], out[0], lab_bytes(), [=](float* a, float* b, float* c, int n) { from_lab_block(colours, a, b, c, n); });
}
inline int to_luv(const Image* in, int, const Image* out, const double* args) {
  const Colours colours(args, false);
  return to_perceived(in[0], out[0], luv_bytes(), [=](float* a, float* b, float* c, int n) { luv_block(colours, a, b, c, n); });
}
inline int from_luv(const Image* in, int, const Image* out, const double* args) {
  const Colours colours(args, true);
  return from_perceived(in[0], out[0], luv_bytes(), [=](float* a, float* b, float* c, int n) { from_luv_block(colours, a, b, c, n); });
}
}}}  // namespace
#endif
