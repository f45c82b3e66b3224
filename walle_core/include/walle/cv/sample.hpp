// Values between pixels: weights of the interpolations, and the bilinear one for bytes, which most images need.
#ifndef WALLE_CV_SAMPLE_HPP
#define WALLE_CV_SAMPLE_HPP

namespace walle { namespace cv { namespace {

enum Interpolation { NEAREST, LINEAR, CUBIC, AREA, LANCZOS4, LINEAR_EXACT, NEAREST_EXACT };

typedef float Floats4 __attribute__((vector_size(16)));
typedef int32_t Ints4 __attribute__((vector_size(16)));
const int SPARE = 8;  // bytes that a row of `bilinear_bytes` may write behind its end

inline int taps_of(int interpolation) {
  return interpolation == LINEAR || interpolation == LINEAR_EXACT ? 2 : interpolation == CUBIC ? 4 : interpolation == LANCZOS4 ? 8 : 1;
}
// Weights of the taps around x in [0, 1): the first tap is at 1 - taps / 2. Keys 1981 with a = -3/4; Lanczos 1979, a = 4.
inline void weights_at(int interpolation, float x, float* w) {
  if (interpolation == CUBIC) {
    const float a = -.75f;
    w[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
    w[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
    w[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
    w[3] = 1.f - w[0] - w[1] - w[2];
  } else if (interpolation == LANCZOS4) {
    const double pi = 3.14159265358979323846;
    double sum = 0, v[8];
    for (int i = 0; i < 8; ++i) {
      const double t = double(x) + 3 - i;
      v[i] = t > -1e-6 && t < 1e-6 ? 1. : std::sin(pi * t) * std::sin(pi * t / 4) * 4 / (pi * pi * t * t);
      sum += v[i];
    }
    for (int i = 0; i < 8; ++i) w[i] = float(v[i] / sum);
  } else {
    w[0] = 1.f - x, w[1] = x;
  }
}

// Four bytes from the I-th on as numbers.
template <int I> inline Floats4 numbers_from(Bytes16 v) {
  const Bytes16 zero = {0}, order = {I, 16, 16, 16, I + 1, 16, 16, 16, I + 2, 16, 16, 16, I + 3, 16, 16, 16};
  const Bytes16 wide = __builtin_shuffle(v, zero, order);
  Ints4 whole;
  std::memcpy(&whole, &wide, 16);
  return __builtin_convertvector(whole, Floats4);
}
inline Bytes16 load8(const uint8_t* p) {
  typedef int64_t Longs2 __attribute__((vector_size(16)));
  int64_t low;
  std::memcpy(&low, p, 8);
  const Longs2 both = {low, 0};
  Bytes16 v;
  std::memcpy(&v, &both, 16);
  return v;
}
// Two neighbours of C = 3 or 4 channels in each of two rows; writes 4 bytes, of which C count. Reads 8 bytes per row.
template <int C> inline void bilinear_pixel(const uint8_t* p, const uint8_t* q, float fx, float fy, uint8_t* d) {
  const Bytes16 a = load8(p), b = load8(q);
  const Floats4 l = numbers_from<0>(a), r = numbers_from<C>(a);
  const Floats4 left = l + (numbers_from<0>(b) - l) * fy, right = r + (numbers_from<C>(b) - r) * fy;
  const Floats4 sum = left + (right - left) * fx + 12582912.f;
  Bytes16 bits;
  std::memcpy(&bits, &sum, 16);
  const Bytes16 order = {0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12};
  bits = __builtin_shuffle(bits, order);
  std::memcpy(d, &bits, 4);
}
// One row of n <= BLOCK pixels. Pixel i reads the neighbours at p + at[i] and q + at[i], all of them before `end`.
template <int C> inline void bilinear_bytes(const uint8_t* p, const uint8_t* q, const uint8_t* end, const int32_t* at, const float* fx,
                                            const float* fy, uint8_t* d, int n) {
  const uint8_t* last = p < q ? q : p;
  for (int i = 0; i < n; ++i) {
    if (last + at[i] + 8 <= end) {
      bilinear_pixel<C>(p + at[i], q + at[i], fx[i], fy[i], d + i * C);
    } else {
      uint8_t a[16] = {0}, b[16] = {0};
      const uint8_t *from = p + at[i], *below = q + at[i];
      std::memcpy(a, from, least<int64_t>(8, end - from));
      std::memcpy(b, below, least<int64_t>(8, end - below));
      bilinear_pixel<C>(a, b, fx[i], fy[i], d + i * C);
    }
  }
}
template <> inline void bilinear_bytes<1>(const uint8_t* p, const uint8_t* q, const uint8_t* end, const int32_t* at, const float* fx,
                                          const float* fy, uint8_t* d, int n) {
  uint16_t upper[BLOCK], lower[BLOCK];
  const uint8_t* last = p < q ? q : p;
  for (int i = 0; i < n; ++i) {
    if (last + at[i] + 2 <= end) {
      std::memcpy(upper + i, p + at[i], 2), std::memcpy(lower + i, q + at[i], 2);
    } else {
      upper[i] = uint16_t(p[at[i]] * 257), lower[i] = uint16_t(q[at[i]] * 257);
    }
  }
  for (int i = 0; i < n; ++i) {  // little endian: the left neighbour is the low byte
    const float a = float(upper[i] & 255), b = float(upper[i] >> 8), e = float(lower[i] & 255), f = float(lower[i] >> 8);
    const float l = a + (e - a) * fy[i], r = b + (f - b) * fy[i], v = l + (r - l) * fx[i] + 12582912.f;
    int32_t bits;
    std::memcpy(&bits, &v, 4);
    d[i] = uint8_t(bits);
  }
}
inline bool has_bilinear_bytes(const Image& m) { return m.depth == U8 && (m.c == 1 || m.c == 3 || m.c == 4) && m.h * m.stride < (int64_t(1) << 31); }
inline void bilinear_row(int64_t c, const uint8_t* p, const uint8_t* q, const uint8_t* end, const int32_t* at, const float* fx,
                         const float* fy, uint8_t* d, int n) {
  if (c == 1) bilinear_bytes<1>(p, q, end, at, fx, fy, d, n);
  else if (c == 3) bilinear_bytes<3>(p, q, end, at, fx, fy, d, n);
  else bilinear_bytes<4>(p, q, end, at, fx, fy, d, n);
}
}}}  // namespace
#endif
