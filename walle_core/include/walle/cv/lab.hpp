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
inline float cube_root_step(float r, float x) { return (r + r + x / (r * r)) * (1.f / 3); }
inline float cube_root(float x) {  // steps by hand: loops within loops are not made vectors of
  const float r = cube_root_step(rough_root(x, 3, 0x2A5137A0), x);
  return cube_root_step(cube_root_step(r, x), x);
}
inline float fifth_root_step(float r, float x) { return (4 * r + x / (r * r * r * r)) * .2f; }
inline float fifth_root(float x) {
  const float r = fifth_root_step(fifth_root_step(rough_root(x, 5, 0x32CBFE3C), x), x);
  return fifth_root_step(fifth_root_step(r, x), x);
}
inline float twelfth_root_step(float r, float x) {
  const float r2 = r * r, r4 = r2 * r2;
  return (11 * r + x / (r4 * r4 * r2 * r)) * (1.f / 12);
}
inline float twelfth_root(float x) {
  const float r = twelfth_root_step(rough_root(x, 12, 0x3A300C40), x);
  return twelfth_root_step(twelfth_root_step(r, x), x);
}
// sRGB's curve and back (IEC 61966-2-1); x^2.4 = x² (x^1/5)², x^(1/2.4) = (x^1/12)^5.
inline float to_linear(float v) {
  const float x = most((v + .055f) * (1 / 1.055f), 1e-6f), r = fifth_root(x), power = x * x * r * r;
  return v <= .04045f ? v * (1 / 12.92f) : power;
}
inline float from_linear(float v) {
  const float x = most(v, 1e-6f), r = twelfth_root(x), r2 = r * r;
  const float power = 1.055f * r2 * r2 * r - .055f;
  return v <= .0031308f ? v * 12.92f : power;
}
inline float lightness_curve(float t) {
  const float root = cube_root(most(t, 1e-6f));
  return t > DARK ? root : 7.787f * t + 16 / 116.f;
}
inline float from_lightness_curve(float f) {
  const float bright = f * f * f, dark = (f - 16 / 116.f) * (1 / 7.787f);
  return f > 7.787f * DARK + 16 / 116.f ? bright : dark;
}

struct Colours {  // how three planes are red, green and blue
  int blue;
  bool curved;
  Colours(const double* args) : blue(int(args[0])), curved(args[1] != 0) {}
};
struct Matrix {
  float m[9];
  explicit Matrix(bool back) { for (int i = 0; i < 9; ++i) m[i] = float(xyz_matrix(back)[i]); }
};
inline void lighten(bool curved, float* p, int n) {
  for (int i = 0; i < n; ++i) p[i] = within(p[i], 0.f, 1.f);
  if (curved) for (int i = 0; i < n; ++i) p[i] = to_linear(p[i]);
}
inline void darken(bool curved, float* p, int n) {
  for (int i = 0; i < n; ++i) p[i] = within(p[i], 0.f, 1.f);
  if (curved) for (int i = 0; i < n; ++i) p[i] = from_linear(p[i]);
}
// Planes in any order of colours become X, Y, Z, and the other way.
inline void to_xyz_planes(Colours colours, float* a, float* b, float* c, int n) {
  float *red = colours.blue ? a : c, *blue = colours.blue ? c : a;
  lighten(colours.curved, a, n), lighten(colours.curved, b, n), lighten(colours.curved, c, n);
  const Matrix k(false);
  const float *m = k.m, m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], m4 = m[4], m5 = m[5], m6 = m[6], m7 = m[7], m8 = m[8];
#pragma GCC ivdep
  for (int i = 0; i < n; ++i) {
    const float r = red[i], g = b[i], u = blue[i];
    a[i] = m0 * r + m1 * g + m2 * u, b[i] = m3 * r + m4 * g + m5 * u, c[i] = m6 * r + m7 * g + m8 * u;
  }
}
inline void from_xyz_planes(Colours colours, float* a, float* b, float* c, int n) {
  float *red = colours.blue ? a : c, *blue = colours.blue ? c : a;
  const Matrix k(true);
  const float *m = k.m, m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], m4 = m[4], m5 = m[5], m6 = m[6], m7 = m[7], m8 = m[8];
#pragma GCC ivdep
  for (int i = 0; i < n; ++i) {
    const float x = a[i], y = b[i], z = c[i];
    red[i] = m0 * x + m1 * y + m2 * z, b[i] = m3 * x + m4 * y + m5 * z, blue[i] = m6 * x + m7 * y + m8 * z;
  }
  darken(colours.curved, a, n), darken(colours.curved, b, n), darken(colours.curved, c, n);
}

inline void lab_block(Colours colours, float* a, float* b, float* c, int n) {
  to_xyz_planes(colours, a, b, c, n);
#pragma GCC ivdep
  for (int i = 0; i < n; ++i) {
    const float y = b[i];
    const float fx = lightness_curve(a[i] * (1 / WHITE_X)), fy = lightness_curve(y), fz = lightness_curve(c[i] * (1 / WHITE_Z));
    a[i] = y > DARK ? 116 * fy - 16 : STEEP * y, b[i] = 500 * (fx - fy), c[i] = 200 * (fy - fz);
  }
}
inline void from_lab_block(Colours colours, float* a, float* b, float* c, int n) {
#pragma GCC ivdep
  for (int i = 0; i < n; ++i) {
    const float l = a[i], dark = l * (1 / STEEP), bright = (l + 16) * (1 / 116.f), light = bright * bright * bright;
    const float fy = l <= STEEP * DARK ? 7.787f * dark + 16 / 116.f : bright, y = l <= STEEP * DARK ? dark : light;
    const float x = from_lightness_curve(fy + b[i] * .002f), z = from_lightness_curve(fy - c[i] * .005f);
    a[i] = x * WHITE_X, b[i] = y, c[i] = z * WHITE_Z;
  }
  from_xyz_planes(colours, a, b, c, n);
}
inline void luv_block(Colours colours, float* a, float* b, float* c, int n) {
  to_xyz_planes(colours, a, b, c, n);
#pragma GCC ivdep
  for (int i = 0; i < n; ++i) {
    const float x = a[i], y = b[i], z = c[i], root = cube_root(most(y, 1e-6f)), l = y > DARK ? 116 * root - 16 : STEEP * y;
    const float share = 1 / most(x + 15 * y + 3 * z, 1.1920929e-7f);
    a[i] = l, b[i] = 13 * l * (4 * x * share - WHITE_U), c[i] = 13 * l * (9 * y * share - WHITE_V);
  }
}
inline void from_luv_block(Colours colours, float* a, float* b, float* c, int n) {
#pragma GCC ivdep
  for (int i = 0; i < n; ++i) {
    const float l = a[i], bright = (l + 16) * (1 / 116.f), light = bright * bright * bright, y = l <= STEEP * DARK ? l * (1 / STEEP) : light;
    // 13 L u' and 1 / (52 L v'), which is bounded as v' comes near 0
    const float u = b[i] + 13 * l * WHITE_U, v = c[i] + 13 * l * WHITE_V, share = within(.25f / (v == 0 ? 1e-30f : v), -.25f, .25f);
    a[i] = 9 * y * u * share, b[i] = y, c[i] = y * ((156 * l - 3 * u) * share - 5);
  }
  from_xyz_planes(colours, a, b, c, n);
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
  const Colours colours(args);
  return to_perceived(in[0], out[0], lab_bytes(), [=](float* a, float* b, float* c, int n) { lab_block(colours, a, b, c, n); });
}
inline int from_lab(const Image* in, int, const Image* out, const double* args) {
  const Colours colours(args);
  return from_perceived(in[0], out[0], lab_bytes(), [=](float* a, float* b, float* c, int n) { from_lab_block(colours, a, b, c, n); });
}
inline int to_luv(const Image* in, int, const Image* out, const double* args) {
  const Colours colours(args);
  return to_perceived(in[0], out[0], luv_bytes(), [=](float* a, float* b, float* c, int n) { luv_block(colours, a, b, c, n); });
}
inline int from_luv(const Image* in, int, const Image* out, const double* args) {
  const Colours colours(args);
  return from_perceived(in[0], out[0], luv_bytes(), [=](float* a, float* b, float* c, int n) { from_luv_block(colours, a, b, c, n); });
}
}}}  // namespace
#endif
